package redistest

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// SentinelConfig says how the servers of StartSentinel and StartCluster are guarded. The zero value is plain TCP without a password.
type SentinelConfig struct {
	TLS              TLS
	CA               *CA    // of Secure and Mutual
	Password         string // of the default user of the servers
	SentinelPassword string // of the default user of the Sentinels
	Args             []string
}

// Sentinel is one master with two replicas, watched by three Sentinels, tuned to fail over in a few seconds.
type Sentinel struct {
	Name      string // of the master: "main"
	Nodes     []*Server
	Sentinels []*Server
	URL       string // redis+sentinel://..., with the password of the servers

	t testing.TB
}

// StartSentinel starts a master, two replicas and three Sentinels, and returns when all know each other. They end with the test.
func StartSentinel(t testing.TB, c SentinelConfig) *Sentinel {
	t.Helper()
	s := &Sentinel{Name: "main", t: t}
	args := slices.Concat(c.Args, []string{"--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"})
	if c.Password != "" {
		args = append(args, "--requirepass", c.Password, "--masterauth", c.Password)
	}
	if c.TLS != Plain {
		args = append(args, "--tls-replication", "yes")
	}
	master := start(t, c.CA, c.TLS, args)
	host, port, _ := net.SplitHostPort(master.Addr)
	s.Nodes = append(s.Nodes, master)
	for range 2 {
		s.Nodes = append(s.Nodes, prepare(t, c.CA, c.TLS, append(slices.Clone(args), "--replicaof", host+" "+port)))
	}
	beginAll(s.Nodes[1:])
	until(t, "both replicas follow the master", func() error { return replicas(master, 2) })
	for range 3 {
		s.Sentinels = append(s.Sentinels, s.sentinel(c, host, port))
	}
	beginAll(s.Sentinels)
	s.tune("info-period", 100)
	s.tune("ping-period", 100)
	s.tune("ask-period", 100)
	s.tune("publish-period", 100)
	s.settled()
	// A Sentinel that does not lead a failover turns the promoted replica back after four of these, unless it has heard; the leader looks at that
	// replica once a second.
	s.tune("publish-period", 1000)
	// On a busy machine a Sentinel that was not run for 2 s would do nothing for 30 s (TILT).
	s.tune("tilt-trigger", 20_000)
	s.tune("tilt-period", 1000)
	var hosts []string
	for _, one := range s.Sentinels {
		hosts = append(hosts, one.Addr)
	}
	u := url.URL{Scheme: "redis+sentinel", Host: strings.Join(hosts, ","), Path: "/" + s.Name}
	s.URL = dress(u, c)
	return s
}

// tune sets a period of the Sentinels, in milliseconds, where they can be told (since 7.0); elsewhere everything takes some seconds longer.
func (s *Sentinel) tune(period string, ms int) {
	s.t.Helper()
	for _, one := range s.Sentinels {
		if _, err := one.try("SENTINEL", "DEBUG", period, ms); err != nil && !strings.Contains(err.Error(), "nknown") {
			s.t.Fatalf("tune a Sentinel: %v", err)
		}
	}
}

// dress adds to a URL what a SentinelConfig says.
func dress(u url.URL, c SentinelConfig) string {
	if c.TLS != Plain {
		u.Scheme = "rediss" + strings.TrimPrefix(u.Scheme, "redis")
	}
	if c.Password != "" {
		u.User = url.UserPassword("", c.Password)
	}
	if c.SentinelPassword != "" {
		u.RawQuery = url.Values{"sentinel_password": {c.SentinelPassword}}.Encode()
	}
	return u.String()
}

// beginAll starts prepared servers beside each other.
func beginAll(all []*Server) {
	var wait sync.WaitGroup
	for _, one := range all {
		wait.Go(func() {
			if err := one.tryBegin(); err != nil {
				one.t.Errorf("start redis-server: %v", err)
			}
		})
	}
	wait.Wait()
	for _, one := range all {
		if one.run == nil {
			one.t.FailNow()
		}
	}
}

// sentinel is a Sentinel that does not run yet. It writes to its configuration.
func (s *Sentinel) sentinel(c SentinelConfig, host, port string) *Server {
	s.t.Helper()
	lines := []string{
		fmt.Sprintf("sentinel monitor %s %s %s 2", s.Name, host, port),
		fmt.Sprintf("sentinel down-after-milliseconds %s 2000", s.Name),
		fmt.Sprintf("sentinel failover-timeout %s 2000", s.Name),
		fmt.Sprintf("sentinel parallel-syncs %s 2", s.Name),
	}
	if c.Password != "" {
		lines = append(lines, fmt.Sprintf("sentinel auth-pass %s %s", s.Name, c.Password))
	}
	var args []string
	if c.SentinelPassword != "" {
		args = append(args, "--requirepass", c.SentinelPassword)
		lines = append(lines, "sentinel sentinel-pass "+c.SentinelPassword)
	}
	if c.TLS != Plain {
		args = append(args, "--tls-replication", "yes")
	}
	one := prepare(s.t, c.CA, c.TLS, args)
	for _, refused := range []string{"--save", "--appendonly"} { // by Sentinels
		i := slices.Index(one.args, refused)
		one.args = slices.Delete(one.args, i, i+2)
	}
	one.config, one.says, one.pass = filepath.Join(s.t.TempDir(), "sentinel.conf"), "+monitor master", c.SentinelPassword
	one.args = append([]string{"--sentinel"}, one.args...)
	if err := os.WriteFile(one.config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		s.t.Fatalf("write sentinel.conf: %v", err)
	}
	return one
}

// settled waits until every Sentinel sees the same master, two replicas in order and two other Sentinels.
func (s *Sentinel) settled() {
	s.t.Helper()
	running := 0
	for _, n := range s.Nodes {
		if n.run != nil {
			running++
		}
	}
	until(s.t, "all Sentinels know each other and the replicas", func() error {
		master := s.Master()
		var failed []error
		for _, one := range s.Sentinels {
			facts, err := one.facts(s.Name)
			if err != nil {
				return err
			}
			failed = append(failed, wants("flags", facts["flags"], "master"), wants("other Sentinels", facts["num-other-sentinels"], len(s.Sentinels)-1),
				wants("master", net.JoinHostPort(facts["ip"], facts["port"]), master.Addr))
		}
		return errors.Join(append(failed, replicas(master, running-1))...)
	})
}

func (s *Server) facts(master string) (map[string]string, error) {
	reply, err := s.try("SENTINEL", "MASTER", master)
	if err != nil {
		return nil, err
	}
	facts := map[string]string{}
	switch reply := reply.(type) {
	case []any:
		for i := 0; i+1 < len(reply); i += 2 {
			facts[fmt.Sprint(reply[i])] = fmt.Sprint(reply[i+1])
		}
	case map[any]any:
		for name, value := range reply {
			facts[fmt.Sprint(name)] = fmt.Sprint(value)
		}
	}
	return facts, nil
}

// replicas is nil when so many replicas are in order.
func replicas(master *Server, want int) error {
	reply, err := master.try("INFO", "replication")
	if err != nil {
		return err
	}
	return wants("replicas online", strings.Count(fmt.Sprint(reply), "state=online"), want)
}

// Master is the node that the first running Sentinel names as master.
func (s *Sentinel) Master() *Server {
	s.t.Helper()
	for _, one := range s.Sentinels {
		if one.run == nil {
			continue
		}
		facts, err := one.facts(s.Name)
		if err != nil {
			s.t.Fatalf("ask a Sentinel: %v", err)
		}
		for _, n := range s.Nodes {
			if n.Addr == net.JoinHostPort(facts["ip"], facts["port"]) {
				return n
			}
		}
	}
	s.t.Fatal("no Sentinel names a node")
	return nil
}

// Failover kills the master and waits until the Sentinels have made a replica the master and agree on it. It returns that and the one that was
// killed, which Restart brings back as a replica after a while.
func (s *Sentinel) Failover() (master, former *Server) {
	s.t.Helper()
	former = s.Master()
	former.Kill()
	master = s.elected(former)
	s.settled()
	return master, former
}

// Demote has the Sentinels make a replica the master while the former master lives, and returns both when the former is a replica.
func (s *Sentinel) Demote() (master, former *Server) {
	s.t.Helper()
	former = s.Master()
	until(s.t, "a Sentinel names another master", func() error { return s.push(former) })
	master = s.elected(former)
	until(s.t, "the former master is a replica", func() error {
		reply, err := former.try("ROLE")
		if err != nil {
			return err
		}
		role, _ := reply.([]any)
		return wants("role", append(role, nil)[0], "slave")
	})
	s.settled()
	return master, former
}

// push has the first Sentinel begin a failover, unless one is under way there; it is nil once that Sentinel names another master. A failover that it
// has taken on ends without a change where it has not heard from a replica lately, so that it must be asked again.
func (s *Sentinel) push(former *Server) error {
	facts, err := s.Sentinels[0].facts(s.Name)
	if err != nil {
		return err
	}
	if net.JoinHostPort(facts["ip"], facts["port"]) != former.Addr {
		return nil
	}
	if !strings.Contains(facts["flags"], "failover_in_progress") {
		if _, err := s.Sentinels[0].try("SENTINEL", "FAILOVER", s.Name); err != nil {
			return err // NOGOODSLAVE: a moment later
		}
	}
	return fmt.Errorf("the Sentinel's state is %s; its log:\n%s", facts["flags"], s.Sentinels[0].run.log())
}

func (s *Sentinel) elected(former *Server) (master *Server) {
	s.t.Helper()
	until(s.t, "another node is master", func() error {
		var named []string
		for _, one := range s.Sentinels {
			if one.run == nil {
				continue
			}
			facts, err := one.facts(s.Name)
			if err != nil {
				return err
			}
			named = append(named, net.JoinHostPort(facts["ip"], facts["port"]))
		}
		if named = slices.Compact(named); len(named) != 1 || named[0] == former.Addr {
			return fmt.Errorf("the Sentinels name %v; the first one's log:\n%s", named, s.Sentinels[0].run.log())
		}
		for _, n := range s.Nodes {
			if n.Addr == named[0] {
				master = n
			}
		}
		reply, err := master.try("ROLE")
		if err != nil {
			return err
		}
		role, _ := reply.([]any)
		return wants("role", append(role, nil)[0], "master")
	})
	return master
}
