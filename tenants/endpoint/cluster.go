package endpoint

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// hops is how often the owner of a slot is followed to another node: while a slot moves, nodes disagree for a moment.
const hops = 5

// nodes are all that are known of the cluster, in a random order, so that many subscribers spread.
func (o *Options) nodes() []string {
	all := slices.Clone(o.config.Addresses)
	if s := o.learned.Load(); s != nil {
		for _, n := range s.nodes {
			if !slices.Contains(all, n) {
				all = append(all, n)
			}
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// learn keeps a slot map, unless it is older than the one that is there.
func (o *Options) learn(s *Slots) {
	for {
		old := o.learned.Load()
		if old != nil && old.epoch > s.epoch || o.learned.CompareAndSwap(old, s) {
			return
		}
	}
}

// share is the part of a context's time that one of several nodes may take: half of what is left, so that one black hole leaves the others a
// chance.
func (o *Options) share(ctx context.Context) (context.Context, context.CancelFunc) {
	most := o.config.DialTimeout
	if end, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(end)/2)
	}
	return context.WithTimeout(ctx, most)
}

// subscribeNode takes a node that sees its cluster whole, or any other where none does: while some slots are served by nobody all nodes say that
// the cluster has failed, and messages pass all the same.
func (o *Options) subscribeNode(ctx context.Context) (*subscriber, error) {
	var failed []error
	var spare *subscriber
	for _, addr := range o.nodes() {
		whole := true
		one, cancel := o.share(ctx)
		s, err := o.open(one, addr, func(ctx context.Context, conn *redis.Conn) (err error) {
			whole, err = seesWhole(ctx, conn)
			return err
		})
		cancel()
		switch {
		case err != nil:
			failed = append(failed, err)
		case whole:
			if spare != nil {
				spare.Close()
			}
			return s, nil
		case spare != nil:
			s.Close()
		default:
			spare = s
		}
		if ctx.Err() != nil {
			break
		}
	}
	if spare != nil {
		return spare, nil
	}
	return nil, fmt.Errorf("no node of the cluster can be used: %w", joined(failed))
}

// seesWhole asks a node whether its cluster is in order. Who may not ask is not told otherwise.
func seesWhole(ctx context.Context, conn *redis.Conn) (bool, error) {
	info, err := clusterInfo(ctx, conn)
	if redis.HasErrorPrefix(err, "NOPERM") {
		return true, nil
	}
	return info["cluster_state"] == "ok", err
}

// Slots asks the cluster who serves which slot: any node that answers. The user needs +cluster|slots, and +cluster|info to tell old answers from
// new ones.
func (o *Options) Slots(ctx context.Context) (*Slots, error) {
	if !o.config.Cluster {
		return nil, fmt.Errorf("%s is not a cluster: slots are served by clusters alone", o.Name())
	}
	var failed []error
	for _, addr := range o.nodes() {
		one, cancel := o.share(ctx)
		node := o.node(addr)
		s, err := node.slots(one)
		cancel()
		node.Close()
		if err == nil {
			return s, nil
		}
		if failed = append(failed, err); ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("ask the cluster for its slots: %w", joined(failed))
}

// node is a client for questions to one node.
type node struct {
	*redis.Client
	o    *Options
	addr string
	last *atomic.Pointer[login]
}

func (o *Options) node(addr string) *node {
	n := &node{o: o, addr: addr, last: new(atomic.Pointer[login])}
	options := o.short(nil, addr)
	options.CredentialsProviderContext = o.ask(n.last)
	n.Client = redis.NewClient(options)
	return n
}

// slots asks, and ends with ctx: a context that is cancelled does not wake a read of go-redis.
func (n *node) slots(ctx context.Context) (*Slots, error) {
	stop := context.AfterFunc(ctx, func() { n.Client.Close() })
	defer stop()
	s, err := askSlots(ctx, n.Client, n.addr)
	if err != nil {
		l := login{}
		if last := n.last.Load(); last != nil {
			l = *last
		}
		return nil, n.o.explain("node "+n.addr+as(l), l, because(ctx, err))
	}
	n.o.learn(s)
	return s, nil
}

// ShardSubscriber is Subscriber for SSUBSCRIBE to channels of a slot (Slot): a socket to the master that serves it, by that master's own word, and
// the slot map as that master sees it; slots with the same Owner may share the socket. A node that another has taken the slot from is followed to
// the other, as its MOVED would say. It is an error where nobody serves the slot. The user needs +cluster|slots and +ping.
//
// A caller that reads -MOVED, or a push of sunsubscribe that it did not ask for, closes or keeps the socket as its other slots demand, and calls
// ShardSubscriber for the slot again.
func (o *Options) ShardSubscriber(ctx context.Context, slot int) (net.Conn, *Slots, error) {
	if slot < 0 || slot >= SlotCount {
		return nil, nil, fmt.Errorf("slot %d is not between 0 and %d", slot, SlotCount-1)
	}
	slots, err := o.learned.Load(), error(nil)
	for hop := 0; ; hop++ {
		if slots == nil || slots.Owner(slot) == "" {
			if slots, err = o.Slots(ctx); err != nil {
				return nil, nil, err
			}
		}
		owner := slots.Owner(slot)
		if owner == "" {
			return nil, nil, fmt.Errorf("no node of %s serves slot %d; assign it with CLUSTER ADDSLOTS, or wait for a failover", o.Name(), slot)
		}
		s, own, err := o.openOwner(ctx, owner)
		switch {
		case err != nil && (hop == hops || ctx.Err() != nil):
			return nil, nil, err
		case err != nil: // it may have failed over to its replica
			fresh, asked := o.Slots(ctx)
			if asked != nil || fresh.Owner(slot) == owner {
				return nil, nil, err
			}
			slots = fresh
		case own.Owner(slot) == owner:
			return s, own, nil
		default:
			if slots = own; hop == hops {
				return nil, nil, errors.Join(fmt.Errorf("slot %d moves faster than it can be followed: %s names %s", slot, owner, own.Owner(slot)), s.Close())
			}
			if err := s.Close(); err != nil {
				return nil, nil, err
			}
		}
	}
}

func (o *Options) openOwner(ctx context.Context, owner string) (*subscriber, *Slots, error) {
	ctx, cancel := o.share(ctx)
	defer cancel()
	var own *Slots
	s, err := o.open(ctx, owner, func(ctx context.Context, conn *redis.Conn) (err error) {
		own, err = askSlots(ctx, conn, owner)
		return err
	})
	if err == nil {
		o.learn(own)
	}
	return s, own, err
}
