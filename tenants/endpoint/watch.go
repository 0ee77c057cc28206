package endpoint

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// watchEvery is how often Watch asks by itself. Sentinels announce a failover sooner; clusters announce nothing.
const watchEvery = 2 * time.Second

// Change is what Watch has found: one of the two fields.
type Change struct {
	Master string // host:port of the master that Sentinels name
	Slots  *Slots // who serves which slot of the cluster
}

// Watch calls changed with what is in force as soon as that is known, and again whenever it has become something else, until ctx ends: the master
// behind Sentinels, which is learned from their announcement of +switch-master or by asking all of them every 2 s; or the slot map of a cluster,
// which is asked for every 2 s. A server that is neither never changes. While nobody answers nothing is called. changed is called by one
// goroutine, which asks nothing meanwhile.
//
// A socket of Subscriber whose Server is not the Master named here leads to a demoted or lost server.
func (o *Options) Watch(ctx context.Context, changed func(Change)) {
	switch {
	case o.config.Master != "":
		o.watchMaster(ctx, changed)
	case o.config.Cluster:
		o.watchSlots(ctx, changed)
	default:
		<-ctx.Done()
	}
}

func (o *Options) watchMaster(ctx context.Context, changed func(Change)) {
	s := o.sentinels(nil)
	announced := make(chan struct{}, 1) // at the bound: one is waiting already
	var listeners sync.WaitGroup
	for _, c := range s.clients {
		listeners.Go(func() { listen(ctx, c, announced) }) // ends with ctx
	}
	defer listeners.Wait()
	defer s.close()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for last := ""; ; {
		asking, cancel := context.WithTimeout(ctx, questionTimeout)
		masters, err := s.masters(asking)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err == nil && masters[0] != last {
			last = masters[0]
			changed(Change{Master: last})
		}
		select {
		case <-ctx.Done():
			return
		case <-announced:
		case <-tick.C:
		}
	}
}

// listen tells of each announcement of one Sentinel, and of each time that it begins to listen, because announcements before were missed. What
// was announced is asked for afterwards: Sentinels announce other masters, too.
func listen(ctx context.Context, c *redis.SentinelClient, announced chan<- struct{}) {
	p := c.Subscribe(ctx, "+switch-master")
	stop := context.AfterFunc(ctx, func() { p.Close() }) // a context does not wake a read of go-redis
	defer stop()
	defer p.Close()
	for ctx.Err() == nil {
		if _, err := p.Receive(ctx); err != nil {
			if !pause(ctx, time.Second) { // the next Receive connects again
				return
			}
			continue
		}
		select {
		case announced <- struct{}{}:
		default:
		}
	}
}

func (o *Options) watchSlots(ctx context.Context, changed func(Change)) {
	var one *node
	defer func() {
		if one != nil {
			one.Close()
		}
	}()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for last := (*Slots)(nil); ; {
		now, err := o.look(ctx, &one)
		if ctx.Err() != nil {
			return
		}
		if err == nil && !now.Equal(last) && (last == nil || now.epoch >= last.epoch) {
			last = now
			changed(Change{Slots: now})
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look asks the node that answered last, and another where it does not answer any more.
func (o *Options) look(ctx context.Context, one **node) (*Slots, error) {
	var err error
	for _, addr := range o.nodes() {
		if *one == nil {
			*one = o.node(addr)
		}
		asking, cancel := context.WithTimeout(ctx, questionTimeout)
		s, failed := (*one).slots(asking)
		cancel()
		if failed == nil {
			return s, nil
		}
		(*one).Close()
		*one, err = nil, failed
		if ctx.Err() != nil {
			break
		}
	}
	return nil, err
}
