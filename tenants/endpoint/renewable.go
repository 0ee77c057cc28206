package endpoint

import (
	"context"
	"errors"
	"net"
	"sync"

	"github.com/redis/go-redis/v9"
)

// renewable is a Client whose credential changes. Commands go to the present client; when another version of the credential is in force, the next
// command opens another client and goes there, and the former one is closed with the last command that it still carries out. So nothing waits
// for a change, and no command is cut off by it.
type renewable struct {
	redis.UniversalClient // the front: it connects to nothing, its hook hands each command on

	open    func() redis.UniversalClient
	version func() uint64

	mu      sync.Mutex
	hooks   []redis.Hook
	present *generation // nil once closed
}

// generation is a client that was made under one version of the credential.
type generation struct {
	redis.UniversalClient
	version uint64
	uses    int  // commands under way
	retired bool // another has taken its place
}

var errFront = errors.New("this client carries out commands and nothing else")

func newRenewable(name string, version func() uint64, open func() redis.UniversalClient) *renewable {
	front := redis.NewClient(&redis.Options{
		Addr: name, PoolSize: 1, PipelinePoolSize: -1, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true,
		Dialer: func(context.Context, string, string) (net.Conn, error) { return nil, errFront },
	})
	r := &renewable{UniversalClient: front, open: open, version: version}
	now := version()
	r.present = &generation{UniversalClient: open(), version: now}
	front.AddHook(handOn{r})
	return r
}

// take is the client for a command.
func (r *renewable) take() (*generation, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.present == nil {
		return nil, redis.ErrClosed
	}
	if now := r.version(); now != r.present.version {
		former := r.present
		r.present = &generation{UniversalClient: r.open(), version: now}
		for _, h := range r.hooks {
			r.present.AddHook(h)
		}
		r.retire(former)
	}
	r.present.uses++
	return r.present, nil
}

// retire closes a client once it has nothing to do. The caller holds mu.
func (r *renewable) retire(g *generation) {
	g.retired = true
	if g.uses == 0 {
		g.Close() // what it says is of sockets that nobody uses
	}
}

func (r *renewable) put(g *generation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g.uses--
	if g.retired {
		r.retire(g)
	}
}

// AddHook adds a hook to the present client and to those after it.
func (r *renewable) AddHook(h redis.Hook) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hooks = append(r.hooks, h)
	if r.present != nil {
		r.present.AddHook(h)
	}
}

// PoolStats is of the present client.
func (r *renewable) PoolStats() *redis.PoolStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.present == nil {
		return &redis.PoolStats{}
	}
	return r.present.UniversalClient.PoolStats()
}

// Close closes the present client at once, as that of a Client that is not renewable.
func (r *renewable) Close() error {
	r.mu.Lock()
	last := r.present
	r.present = nil
	r.mu.Unlock()
	if last == nil {
		return redis.ErrClosed
	}
	return errors.Join(last.Close(), r.UniversalClient.Close())
}

// handOn is the front's hook.
type handOn struct{ *renewable }

func (h handOn) DialHook(next redis.DialHook) redis.DialHook { return next }

func (h handOn) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		g, err := h.take()
		if err != nil {
			cmd.SetErr(err)
			return err
		}
		defer h.put(g)
		return g.Process(ctx, cmd)
	}
}

func (h handOn) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		g, err := h.take()
		if err != nil {
			return err
		}
		defer h.put(g)
		pipe := g.Pipeline()
		if last := len(cmds) - 1; last > 0 && cmds[0].Name() == "multi" && cmds[last].Name() == "exec" { // a transaction comes dressed
			pipe, cmds = g.TxPipeline(), cmds[1:last]
		}
		for _, cmd := range cmds {
			pipe.Process(ctx, cmd) // it is queued, and fails with Exec
		}
		_, err = pipe.Exec(ctx)
		return err
	}
}
