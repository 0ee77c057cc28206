package endpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	rounds  = 3                      // of asking for the master, where the one that is named turns out to be none
	between = 200 * time.Millisecond // two rounds: Sentinels learn of a failover from each other
	settle  = 300 * time.Millisecond // is waited for other Sentinels after the first has answered
)

// errNotMaster says that a server which Sentinels name as master is none: it was demoted, and they have not heard.
var errNotMaster = errors.New("it is not a master")

// isMaster asks the server itself, as the guide for clients of Sentinel demands (redis.io, "Guidelines for Redis clients with support for Redis
// Sentinel", step 3): a demoted master accepts subscribers and gives them nothing.
func isMaster(ctx context.Context, conn *redis.Conn) error {
	reply, err := conn.Do(ctx, "ROLE").Slice()
	if err != nil {
		return err
	}
	if len(reply) == 0 || reply[0] != "master" {
		return fmt.Errorf("%w: its role is %v", errNotMaster, slices.Concat(reply, []any{"unknown"})[0])
	}
	return nil
}

func (o *Options) subscribeMaster(ctx context.Context) (*subscriber, error) {
	s := o.sentinels(nil)
	defer s.close()
	var failed error
	for round := range rounds {
		if round > 0 && !pause(ctx, between) {
			break
		}
		masters, err := s.masters(ctx)
		if err != nil {
			return nil, err
		}
		for _, addr := range masters {
			socket, err := o.open(ctx, addr, isMaster)
			if err == nil {
				return socket, nil
			}
			failed = err
		}
		if !errors.Is(failed, errNotMaster) {
			break
		}
	}
	return nil, fmt.Errorf("master %q: %w", o.config.Master, failed)
}

// pause waits, and answers false where ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// sentinels are clients of all Sentinels of one master. They connect at the first question.
type sentinels struct {
	o       *Options
	clients []*redis.SentinelClient // in the order of Addresses
}

func (o *Options) sentinels(connect dialFunc) *sentinels {
	s := &sentinels{o: o}
	for _, addr := range o.config.Addresses {
		options := o.short(connect, addr)
		options.Username, options.Password = o.config.SentinelUser, o.config.SentinelPassword
		s.clients = append(s.clients, redis.NewSentinelClient(options))
	}
	return s
}

// close ends questions that are under way, too.
func (s *sentinels) close() {
	for _, c := range s.clients {
		c.Close() // its error would say that it is closed already
	}
}

// said is one Sentinel's answer.
type said struct {
	addr  string
	epoch int64 // of the configuration that it speaks of; the highest is the newest
	err   error
}

// masters asks all Sentinels at once and returns the addresses they name, the most trustworthy first: that of the newest configuration, then that
// of most Sentinels. It waits for all, for at most settle after the first; Sentinels that do not answer are no error while one does.
func (s *sentinels) masters(ctx context.Context) ([]string, error) {
	answers := make(chan said, len(s.clients))
	for i := range s.clients {
		go func() { answers <- s.question(ctx, i) }() // ends with its time-outs or with close
	}
	var all []said
	var failed []error
	var late <-chan time.Time
	for range s.clients {
		select {
		case a := <-answers:
			if a.err != nil {
				failed = append(failed, a.err)
				continue
			}
			all = append(all, a)
			if late == nil {
				t := time.NewTimer(settle)
				defer t.Stop()
				late = t.C
			}
			continue
		case <-late:
		case <-ctx.Done():
			failed = append(failed, ctx.Err())
		}
		break
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("find the master %q: %w", s.o.config.Master, joined(failed))
	}
	return rank(all), nil
}

func rank(all []said) []string {
	votes := map[string]int{}
	newest := map[string]int64{}
	var addrs []string
	for _, a := range all {
		if votes[a.addr]++; votes[a.addr] == 1 {
			addrs = append(addrs, a.addr)
		}
		newest[a.addr] = max(newest[a.addr], a.epoch)
	}
	slices.SortStableFunc(addrs, func(a, b string) int {
		return cmp.Or(cmp.Compare(newest[b], newest[a]), cmp.Compare(votes[b], votes[a]))
	})
	return addrs
}

// question asks one Sentinel. The epoch is a second question, which its user may lack the permission for.
func (s *sentinels) question(ctx context.Context, i int) said {
	client, addr, master := s.clients[i], s.o.config.Addresses[i], s.o.config.Master
	pair, err := client.GetMasterAddrByName(ctx, master).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return said{err: fmt.Errorf("sentinel %s knows no master of that name%s", addr, s.others(ctx, client))}
	case redis.HasErrorPrefix(err, "NOAUTH"), redis.HasErrorPrefix(err, "WRONGPASS"):
		return said{err: scrub(fmt.Errorf("sentinel %s%s: %w; Sentinels have a password of their own: check ?sentinel_password= (and ?sentinel_username=)",
			addr, as(login{s.o.config.SentinelUser, s.o.config.SentinelPassword}), err), s.o.config.SentinelPassword)}
	case err != nil:
		return said{err: s.o.explain("sentinel "+addr, login{}, err)}
	case len(pair) != 2:
		return said{err: fmt.Errorf("sentinel %s: answers with %d fields for an address", addr, len(pair))}
	}
	a := said{addr: net.JoinHostPort(pair[0], pair[1])}
	if facts, err := client.Master(ctx, master).Result(); err == nil {
		a.epoch, _ = strconv.ParseInt(facts["config-epoch"], 10, 64)
	}
	return a
}

// others names the masters that a Sentinel does know, ten at most.
func (s *sentinels) others(ctx context.Context, client *redis.SentinelClient) string {
	list, err := client.Masters(ctx).Result()
	if err != nil || len(list) == 0 {
		return ""
	}
	var names []string
	for _, one := range list[:min(len(list), 10)] {
		fields, _ := one.([]any)
		for i := 0; i+1 < len(fields); i += 2 {
			if name, ok := fields[i+1].(string); ok && fields[i] == "name" {
				names = append(names, strconv.Quote(name))
			}
		}
	}
	return "; it knows " + strings.Join(names, ", ")
}

// joined is errors.Join on one line, each text once.
type joined []error

func (j joined) Error() string {
	var texts []string
	for _, err := range j {
		if !slices.Contains(texts, err.Error()) {
			texts = append(texts, err.Error())
		}
	}
	return strings.Join(texts, "; ")
}

func (j joined) Unwrap() []error { return j }
