package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	handshakeTimeout = 5 * time.Second // each reply while a socket is being authenticated
	questionTimeout  = 2 * time.Second // each answer of a Sentinel or of a node about its cluster
)

// Subscriber dials and authenticates one socket, which then belongs to the caller alone: of the single server, of the master that Sentinels name
// and that says so itself, or of some node of the cluster, of which any one gets what is published to plain channels. RESP 3 is spoken on it, or
// RESP 2 where that was asked for or the server refuses HELLO 3: the caller sees which in the first byte of a push. No database is selected,
// because pub/sub ignores it. The user needs +ping and whatever the caller sends; +role behind Sentinels. ctx ends the attempt, not the socket.
//
// The socket has a method Server() string, the host:port that was dialled, to compare with a Change.
//
// go-redis does HELLO, AUTH, and the fall-back to AUTH on servers before 6.0, under these invariants:
//   - the client has one socket and never another: its Dialer gives out the one dialled here, once;
//   - the client's Ping comes first and authenticates; its Conn comes second, takes the socket out of the pool, and is never put back, so
//     nothing in go-redis reads from the socket afterwards;
//   - no retries, no idle or pipeline connections, no maintenance notifications, which would be pushes that nobody asked for;
//   - the deadlines of go-redis' last command are taken off;
//   - Close closes the socket first and the client after it.
func (o *Options) Subscriber(ctx context.Context) (net.Conn, error) {
	var s *subscriber
	var err error
	switch {
	case o.config.Master != "":
		s, err = o.subscribeMaster(ctx)
	case o.config.Cluster:
		s, err = o.subscribeNode(ctx)
	default:
		s, err = o.open(ctx, o.config.Addresses[0], nil)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// open is a socket to one address. check looks at the server once it is logged in to; its error closes the socket. A credential that the server
// refuses is asked for anew, once.
func (o *Options) open(ctx context.Context, addr string, check func(context.Context, *redis.Conn) error) (*subscriber, error) {
	credential, err := o.login(ctx)
	if err != nil {
		return nil, err
	}
	s, err := o.openAs(ctx, credential, addr, check)
	var wrong refusedError
	if o.config.Refused == nil || !errors.As(err, &wrong) {
		return s, err
	}
	if refused := o.config.Refused(ctx, credential.user, credential.password); refused != nil {
		return nil, fmt.Errorf("%w; %w", err, refused)
	}
	if credential, err = o.login(ctx); err != nil {
		return nil, err
	}
	return o.openAs(ctx, credential, addr, check)
}

// refusedError is that the server does not take the credential.
type refusedError struct{ error }

func (e refusedError) Unwrap() error { return e.error }

func (o *Options) openAs(ctx context.Context, credential login, addr string, check func(context.Context, *redis.Conn) error) (*subscriber, error) {
	socket, err := o.dial(ctx, nil, addr)
	if err != nil {
		return nil, o.explain("connect to "+addr, credential, err)
	}
	s := &subscriber{Conn: socket, server: addr, client: redis.NewClient(o.handshake(socket, addr, credential))}
	if err := s.authenticate(ctx, o.config.ClientName, check); err != nil {
		told := o.explain("log in to "+addr+as(credential), credential, errors.Join(err, s.Close()))
		if redis.HasErrorPrefix(err, "WRONGPASS") {
			return nil, refusedError{told}
		}
		return nil, told
	}
	return s, nil
}

// handshake are the options of a client over a socket that is already there.
func (o *Options) handshake(socket net.Conn, addr string, l login) *redis.Options {
	var once sync.Once
	return &redis.Options{
		Addr: addr, Protocol: o.speaks(), Username: l.user, Password: l.password,
		Dialer: func(context.Context, string, string) (c net.Conn, err error) {
			err = errDialled
			once.Do(func() { c, err = socket, nil })
			return c, err
		},
		PoolSize: 1, PipelinePoolSize: -1, MaxRetries: -1, DialerRetries: 1,
		ReadTimeout: handshakeTimeout, WriteTimeout: handshakeTimeout, ContextTimeoutEnabled: true,
		ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10, // a handshake is small, and the buffers live as long as the socket
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

func (o *Options) speaks() int {
	if o.config.Protocol == 0 {
		return 3
	}
	return o.config.Protocol
}

var errDialled = errors.New("the connection broke while logging in")

// subscriber is a socket that go-redis authenticated.
type subscriber struct {
	net.Conn
	server string // host:port that was dialled
	client *redis.Client

	closing sync.Once
	closed  error
}

// Server is the host:port that was dialled.
func (s *subscriber) Server() string { return s.server }

func (s *subscriber) authenticate(ctx context.Context, name string, check func(context.Context, *redis.Conn) error) error {
	// A context that is cancelled does not wake a read of go-redis; one whose deadline passes does.
	stop := context.AfterFunc(ctx, func() { s.Conn.Close() })
	defer stop()
	if err := s.client.Ping(ctx).Err(); err != nil {
		return because(ctx, err)
	}
	conn := s.client.Conn()
	if err := conn.Ping(ctx).Err(); err != nil {
		return because(ctx, err)
	}
	// A name is for people who read CLIENT LIST; a user without +client|setname does without. Given as ClientName it would be part of
	// the handshake, which its refusal ends.
	var refused redis.Error
	if err := conn.ClientSetName(ctx, name).Err(); err != nil && !errors.As(err, &refused) {
		return because(ctx, err)
	}
	if check != nil {
		if err := check(ctx, conn); err != nil {
			return because(ctx, err)
		}
	}
	if !stop() {
		return ctx.Err()
	}
	return s.Conn.SetDeadline(time.Time{})
}

// because names the context's end as the cause of what it broke.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", ctx.Err(), err)
	}
	return err
}

// Close closes the socket first, so that the client cannot use it again.
func (s *subscriber) Close() error {
	s.closing.Do(func() { s.closed = errors.Join(ignoreClosed(s.Conn.Close()), ignoreClosed(s.client.Close())) })
	return s.closed
}
