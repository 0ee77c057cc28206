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

// clientName is what CLIENT LIST shows of our connections.
const clientName = "tenloom"

// handshakeTimeout bounds each reply while a socket is being authenticated.
const handshakeTimeout = 5 * time.Second

// Subscriber dials and authenticates one socket, which then belongs to the caller alone. RESP 3 is spoken on it, or RESP 2 where the URL
// asks for that or the server refuses HELLO 3: the caller sees which in the first byte of a push. The database of the URL is not selected,
// because pub/sub ignores it. The user needs +ping and whatever the caller sends. ctx ends the attempt, not the socket.
//
// go-redis does HELLO, AUTH, and the fall-back to AUTH on servers before 6.0, under these invariants:
//   - the client has one socket and never another: its Dialer gives out the one dialled here, once;
//   - the client's Ping comes first and authenticates; its Conn comes second, takes the socket out of the pool, and is never put back, so
//     nothing in go-redis reads from the socket afterwards;
//   - no retries, no idle or pipeline connections, no maintenance notifications, which would be pushes that nobody asked for;
//   - the deadlines of go-redis' last command are taken off;
//   - Close closes the socket first and the client after it.
func (o *Options) Subscriber(ctx context.Context) (net.Conn, error) {
	socket, err := o.dial(ctx, nil)
	if err != nil {
		return nil, o.explain("connect to", err)
	}
	s := &subscriber{Conn: socket, client: redis.NewClient(o.handshake(socket))}
	if err := s.authenticate(ctx); err != nil {
		return nil, o.explain("log in to", errors.Join(err, s.Close()))
	}
	return s, nil
}

// handshake are the options of a client over a socket that is already there.
func (o *Options) handshake(socket net.Conn) *redis.Options {
	var once sync.Once
	return &redis.Options{
		Addr: o.Name(), Protocol: o.protocol, Username: o.user, Password: o.password,
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

var errDialled = errors.New("the connection broke while logging in")

// subscriber is a socket that go-redis authenticated.
type subscriber struct {
	net.Conn
	client *redis.Client

	closing sync.Once
	closed  error
}

func (s *subscriber) authenticate(ctx context.Context) error {
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
	if err := conn.ClientSetName(ctx, clientName).Err(); err != nil && !errors.As(err, &refused) {
		return because(ctx, err)
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
