package redistest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

const slots = 16384

// Cluster is three masters that share the slots: 0-5460, 5461-10922, 10923-16383. A node that is down leaves the others working.
type Cluster struct {
	Nodes []*Server // the masters; then, where there are some, a replica of each in the same order
	URL   string    // redis+cluster://..., with the password

	t     testing.TB
	ids   []string // of Nodes
	ports []string // of Nodes, that they talk to each other on
}

// masters is how many a cluster has at a time.
const masters = 3

// StartCluster starts a cluster without replicas and returns when all of it sees all of it. It ends with the test.
func StartCluster(t testing.TB, c SentinelConfig) *Cluster {
	t.Helper()
	return startCluster(t, c, masters)
}

// StartClusterWithReplicas is StartCluster with a replica of each master that is promoted when its master fails. Each is in step when it returns.
func StartClusterWithReplicas(t testing.TB, c SentinelConfig) *Cluster {
	t.Helper()
	k := startCluster(t, c, 2*masters)
	for i, n := range k.Nodes[masters:] {
		n.do("CLUSTER", "REPLICATE", k.ids[i])
	}
	k.settled()
	for _, n := range k.Nodes[:masters] {
		k.InStep(n)
	}
	return k
}

func startCluster(t testing.TB, c SentinelConfig, nodes int) *Cluster {
	t.Helper()
	k := &Cluster{t: t}
	for range nodes {
		_, port, _ := net.SplitHostPort(freePort(t))
		args := slices.Concat(c.Args, []string{"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-node-timeout", "2000",
			"--cluster-require-full-coverage", "no", "--cluster-allow-pubsubshard-when-down", "no", "--cluster-port", port,
			"--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"})
		if c.Password != "" {
			args = append(args, "--requirepass", c.Password, "--masterauth", c.Password)
		}
		if c.TLS != Plain {
			args = append(args, "--tls-cluster", "yes", "--tls-replication", "yes")
		}
		k.Nodes, k.ports = append(k.Nodes, prepare(t, c.CA, c.TLS, args)), append(k.ports, port)

	}
	beginAll(k.Nodes)
	var hosts []string
	for i, n := range k.Nodes {
		hosts = append(hosts, n.Addr)
		k.ids = append(k.ids, fmt.Sprint(n.do("CLUSTER", "MYID")))
		n.do("CLUSTER", "SET-CONFIG-EPOCH", i+1)
		if i >= masters {
			continue
		}
		n.do("CLUSTER", "ADDSLOTSRANGE", (i*slots+2)/3, ((i+1)*slots+2)/3-1)
	}
	for i, n := range k.Nodes[1:] {
		host, port, _ := net.SplitHostPort(n.Addr)
		k.Nodes[0].do("CLUSTER", "MEET", host, port, k.ports[i+1])
	}
	k.settled()
	k.URL = dress(url.URL{Scheme: "redis+cluster", Host: strings.Join(hosts, ",")}, c)
	return k
}

// settled waits until every node that runs sees the cluster in order, and the others'.
func (k *Cluster) settled() {
	k.t.Helper()
	until(k.t, "the nodes of the cluster know each other", func() error {
		var failed []error
		for _, n := range k.Nodes {
			reply, err := n.try("CLUSTER", "INFO")
			if err != nil {
				return err
			}
			info := fmt.Sprint(reply)
			if reply, err = n.try("CLUSTER", "NODES"); err != nil {
				return err
			}
			// What is published goes to those whose link is up, and is not repeated.
			failed = append(failed, wants("links up at "+n.Addr, strings.Count(fmt.Sprint(reply), " connected"), len(k.Nodes)))
			known := fmt.Sprintf("cluster_known_nodes:%d", len(k.Nodes))
			for _, line := range []string{"cluster_state:ok", "cluster_slots_ok:16384", known, "cluster_size:3"} {
				if !strings.Contains(info, line+"\r\n") {
					failed = append(failed, fmt.Errorf("%s is not %s", n.Addr, line))
				}
			}
		}
		return errors.Join(failed...)
	})
}

// Owner is the node that serves a slot, in the eyes of the first node that runs.
func (k *Cluster) Owner(slot int) *Server {
	k.t.Helper()
	for _, n := range k.Nodes {
		if n.run == nil {
			continue
		}
		if owner, err := k.seen(n, slot); err == nil {
			return owner
		}
	}
	k.t.Fatalf("nobody serves slot %d", slot)
	return nil
}

func (k *Cluster) seen(by *Server, slot int) (*Server, error) {
	reply, err := by.try("CLUSTER", "SLOTS")
	if err != nil {
		return nil, err
	}
	ranges, _ := reply.([]any)
	for _, r := range ranges {
		fields, _ := r.([]any)
		if len(fields) < 3 || fields[0].(int64) > int64(slot) || fields[1].(int64) < int64(slot) {
			continue
		}
		id := fmt.Sprint(fields[2].([]any)[2])
		return k.Nodes[slices.Index(k.ids, id)], nil
	}
	return nil, fmt.Errorf("%s knows nobody who serves slot %d", by.Addr, slot)
}

// MoveSlot moves a slot with its keys to a node, live, as redis-cli --cluster reshard does, and returns when all nodes say so. Subscribers of its
// sharded channels get a sunsubscribe from the former owner.
func (k *Cluster) MoveSlot(slot int, to *Server) {
	k.t.Helper()
	from := k.Owner(slot)
	fromID, toID := k.ids[slices.Index(k.Nodes, from)], k.ids[slices.Index(k.Nodes, to)]
	to.do("CLUSTER", "SETSLOT", slot, "IMPORTING", fromID)
	from.do("CLUSTER", "SETSLOT", slot, "MIGRATING", toID)
	host, port, _ := net.SplitHostPort(to.Addr)
	for {
		keys, _ := from.do("CLUSTER", "GETKEYSINSLOT", slot, 100).([]any)
		if len(keys) == 0 {
			break
		}
		args := []any{"MIGRATE", host, port, "", 0, 5000}
		if to.pass != "" {
			args = append(args, "AUTH", to.pass)
		}
		from.do(append(append(args, "KEYS"), keys...)...)
	}
	for _, n := range []*Server{to, from} {
		n.do("CLUSTER", "SETSLOT", slot, "NODE", toID)
	}
	k.Served(slot, to)
}

// Twin is a master's replica, or a replica's master, as the cluster was started.
func (k *Cluster) Twin(of *Server) *Server {
	return k.Nodes[(slices.Index(k.Nodes, of)+masters)%len(k.Nodes)]
}

// InStep waits until the master's twin follows it, so that it can be promoted.
func (k *Cluster) InStep(master *Server) {
	k.t.Helper()
	replica := k.Twin(master)
	until(k.t, "the replica is in step", func() error {
		reply, err := master.try("ROLE")
		if err != nil {
			return err
		}
		role, _ := reply.([]any)
		if len(role) != 3 || role[0] != "master" || len(role[2].([]any)) != 1 {
			return fmt.Errorf("%s says that it is %v", master.Addr, reply)
		}
		if reply, err = replica.try("ROLE"); err != nil {
			return err
		}
		if role, _ = reply.([]any); len(role) != 5 || role[3] != "connected" {
			return fmt.Errorf("%s says that it is %v", replica.Addr, reply)
		}
		return nil
	})
}

// givenUp is after how long Redis has given up a planned failover; before that another one would begin it anew.
const givenUp = 6 * time.Second

// Failover has a master's twin take its place, both running, and returns when all nodes say so. It is asked for again where it was given up.
func (k *Cluster) Failover(master *Server) {
	k.t.Helper()
	k.InStep(master)
	slot := (slices.Index(k.Nodes, master)%masters*slots + 2) / masters // the first of those that it serves
	replica := k.Twin(master)
	var asked time.Time
	until(k.t, "the replica takes over", func() error {
		owner, err := k.seen(replica, slot)
		if err != nil || owner == replica {
			return err
		}
		if time.Since(asked) > givenUp {
			if _, err = replica.try("CLUSTER", "FAILOVER"); err != nil {
				return err
			}
			asked = time.Now()
		}
		return fmt.Errorf("slot %d is served by %s", slot, owner.Addr)
	})
	k.Served(slot, replica)
}

// Served waits until all nodes that run know that a slot is served by this one.
func (k *Cluster) Served(slot int, to *Server) {
	k.t.Helper()
	until(k.t, "all nodes know who serves the slot", func() error {
		for _, n := range k.Nodes {
			if n.run == nil {
				continue
			}
			owner, err := k.seen(n, slot)
			if err != nil {
				return err
			}
			if err := wants("owner", owner.Addr, to.Addr); err != nil {
				return err
			}
		}
		return nil
	})
}
