package endpoint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	idleTimeout = 5 * time.Minute
	// masterLifetime is how long a socket to a master is used before Sentinels are asked again: a master that is cut off from them keeps its
	// clients, and what those write is lost.
	masterLifetime = time.Minute
)

// Client is a pooled client for commands; it connects at its first command, and the caller closes it. dial connects to an address (nil
// means the Config's dialer), Sentinels' included; TLS is done on top of what it returns. A command takes at most CommandTimeout on the wire and
// ends earlier with its context's deadline. At most PoolSize sockets are open, for each node of a cluster; idle ones are closed after IdleTimeout.
//
// A command is sent once: a PUBLISH or INCR repeated after a lost reply would count twice. Only connecting, which precedes the command, is
// tried a second time, and what a cluster refused to execute (MOVED, ASK, TRYAGAIN, CLUSTERDOWN) is sent to the right node, 3 times at most.
//
// Behind Sentinels the server of each new socket must say itself that it is the master. When a dial finds another master than before, sockets to
// the former one are closed. Credentials are asked for at each dial; where Config.Version says that they are others, commands go to new sockets.
func (o *Options) Client(dial func(ctx context.Context, network, addr string) (net.Conn, error)) redis.UniversalClient {
	if o.config.Version != nil {
		return newRenewable(o.Name(), o.config.Version, func() redis.UniversalClient { return o.client(dial) })
	}
	return o.client(dial)
}

func (o *Options) client(dial dialFunc) redis.UniversalClient {
	explain := &explainer{o: o}
	if o.config.Cluster {
		var c *redis.ClusterClient
		options := o.clusterOptions(dial, explain)
		connect := options.Dialer
		options.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
			socket, err := connect(ctx, network, addr)
			if err != nil { // it may have failed over to its replica; go-redis looks by itself each minute only
				c.ReloadState(ctx)
			}
			return socket, err
		}
		c = redis.NewClusterClient(options) // which connects at the first command
		c.AddHook(explain)
		return c
	}
	options := o.clientOptions(explain)
	options.Addr = o.Name()
	if o.config.Master == "" {
		options.Dialer = o.dialer(dial, o.config.Addresses[0])
	} else {
		m := &master{o: o, connect: dial, sockets: map[*toMaster]struct{}{}}
		options.Dialer, options.OnConnect, options.ConnMaxLifetime = m.dial, isMaster, shorter(options.ConnMaxLifetime, masterLifetime)
	}
	c := redis.NewClient(options)
	c.AddHook(explain)
	return c
}

// shorter is the shorter of two lifetimes, of which 0 has no end.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 {
		return b
	}
	return min(a, b)
}

func (o *Options) clientOptions(e *explainer) *redis.Options {
	c := o.config
	return &redis.Options{
		Protocol: o.speaks(), DB: c.DB, CredentialsProviderContext: o.ask(&e.last),
		DialTimeout: c.DialTimeout, DialerRetries: 2, DialerRetryTimeout: 50 * time.Millisecond, MaxRetries: -1,
		ReadTimeout: cmp.Or(c.ReadTimeout, c.CommandTimeout), WriteTimeout: cmp.Or(c.WriteTimeout, c.CommandTimeout),
		PoolTimeout: cmp.Or(c.PoolTimeout, c.CommandTimeout), ContextTimeoutEnabled: true,
		PoolSize: c.PoolSize, MaxActiveConns: c.PoolSize, PipelinePoolSize: -1, ConnMaxIdleTime: c.IdleTimeout, ConnMaxLifetime: c.MaxAge, MinIdleConns: c.MinIdle,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// dialer connects to one address, whatever go-redis asks for.
func (o *Options) dialer(connect dialFunc, addr string) dialFunc {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := o.dial(ctx, connect, addr)
		return c, o.explain("connect to "+addr, login{}, err)
	}
}

// clusterOptions leave go-redis' routing by COMMAND's hints out: it would need +command, and send KEYS and DBSIZE to all nodes at once.
func (o *Options) clusterOptions(connect dialFunc, e *explainer) *redis.ClusterOptions {
	one := o.clientOptions(e)
	return &redis.ClusterOptions{
		Addrs: o.Addresses(), Protocol: one.Protocol, CredentialsProviderContext: one.CredentialsProviderContext,
		Dialer: func(ctx context.Context, _, addr string) (net.Conn, error) {
			c, err := o.dial(ctx, connect, addr)
			if err != nil {
				return nil, o.explain("connect to "+addr, login{}, err)
			}
			return show(onceOnly{c}, c), nil
		},
		DialTimeout: one.DialTimeout, DialerRetries: one.DialerRetries, DialerRetryTimeout: one.DialerRetryTimeout, MaxRedirects: 3,
		ReadTimeout: one.ReadTimeout, WriteTimeout: one.WriteTimeout, PoolTimeout: one.PoolTimeout, ContextTimeoutEnabled: true,
		PoolSize: one.PoolSize, MaxActiveConns: one.MaxActiveConns, PipelinePoolSize: -1, ConnMaxIdleTime: one.ConnMaxIdleTime, ConnMaxLifetime: one.ConnMaxLifetime, MinIdleConns: one.MinIdleConns,
		DisableIdentity: true, DisableRoutingPolicies: true, MaintNotificationsConfig: one.MaintNotificationsConfig,
	}
}

// onceOnly is a socket whose failures go-redis' cluster client does not take for those after which it sends the command again: those are io.EOF
// and every net.Error.
type onceOnly struct{ net.Conn }

func (c onceOnly) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, lost(err)
}

func (c onceOnly) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, lost(err)
}

// visible is a wrapped socket of which the pool can see, between commands, whether it has been closed.
type visible struct {
	net.Conn
	peek syscall.Conn
}

func (v visible) SyscallConn() (syscall.RawConn, error) { return v.peek.SyscallConn() }

// show gives a wrapper what the socket inside it can do. Over TLS there is nothing to see.
func show(wrapper, inside net.Conn) net.Conn {
	if s, ok := inside.(syscall.Conn); ok {
		return visible{wrapper, s}
	}
	return wrapper
}

type lostError struct{ cause error }

func lost(err error) error {
	if err == nil {
		return nil
	}
	return lostError{err}
}

func (e lostError) Error() string { return "the connection failed: " + e.cause.Error() }

// Is knows the cause, except where that would have the command sent again.
func (e lostError) Is(target error) bool {
	return target != io.EOF && target != io.ErrUnexpectedEOF && errors.Is(e.cause, target)
}

// master dials whatever master the Sentinels name.
type master struct {
	o       *Options
	connect dialFunc

	mu      sync.Mutex
	addr    string                 // of the last dial
	sockets map[*toMaster]struct{} // that are open; bounded by the pool
}

type toMaster struct {
	net.Conn
	addr string
	m    *master
}

func (m *master) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	s := m.o.sentinels(m.connect)
	defer s.close()
	asking, cancel := m.o.share(ctx)
	defer cancel()
	addrs, err := s.masters(asking)
	if err != nil {
		return nil, err
	}
	socket, err := m.o.dial(ctx, m.connect, addrs[0])
	if err != nil {
		return nil, fmt.Errorf("master %q: %w", m.o.config.Master, m.o.explain("connect to "+addrs[0], login{}, err))
	}
	c := &toMaster{Conn: socket, addr: addrs[0], m: m}
	m.keep(c)
	return show(c, socket), nil
}

// keep notes a socket, and closes those to other servers than its own.
func (m *master) keep(c *toMaster) {
	m.mu.Lock()
	m.sockets[c] = struct{}{}
	var former []net.Conn
	if m.addr != c.addr {
		m.addr = c.addr
		for other := range m.sockets {
			if other.addr != c.addr {
				former = append(former, other.Conn)
			}
		}
	}
	m.mu.Unlock()
	for _, f := range former {
		f.Close() // whoever reads from it is told
	}
}

func (c *toMaster) Close() error {
	c.m.mu.Lock()
	delete(c.m.sockets, c)
	c.m.mu.Unlock()
	return c.Conn.Close()
}

// LogTo sends what go-redis itself has to say, such as each failed dial of a pool, to log at debug level instead of to standard error:
// whoever called has the same news as an error. It holds for the whole process; a program calls it once, before its first client.
func LogTo(log *slog.Logger) { redis.SetLogger(logger{log}) }

type logger struct{ log *slog.Logger }

func (l logger) Printf(ctx context.Context, format string, args ...any) {
	if l.log.Enabled(ctx, slog.LevelDebug) {
		l.log.DebugContext(ctx, "go-redis", "text", fmt.Sprintf(format, args...))
	}
}
