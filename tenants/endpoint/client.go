package endpoint

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Bounds of a pooled client.
const (
	poolSize       = 16 // sockets; the next command waits commandTimeout for one, then fails
	commandTimeout = 5 * time.Second
	idleTimeout    = 5 * time.Minute
)

// Client is a pooled client for commands; it connects at its first command, and the caller closes it. dial connects to an address (nil
// means the system's dialer); TLS is done on top of what it returns. A command takes at most 5 s on the wire and ends earlier with its
// context's deadline. At most 16 sockets are open; idle ones are closed after 5 minutes.
//
// A command is sent once: a PUBLISH or INCR repeated after a lost reply would count twice. Only connecting, which precedes the command, is
// tried a second time.
func (o *Options) Client(dial func(ctx context.Context, network, addr string) (net.Conn, error)) redis.UniversalClient {
	return redis.NewClient(&redis.Options{
		Addr: o.Name(), Protocol: o.protocol, Username: o.user, Password: o.password, DB: o.db,
		Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := o.dial(ctx, dial)
			return c, o.explain("connect to", err)
		},
		DialTimeout: dialTimeout, DialerRetries: 2, DialerRetryTimeout: 50 * time.Millisecond, MaxRetries: -1,
		ReadTimeout: commandTimeout, WriteTimeout: commandTimeout, PoolTimeout: commandTimeout, ContextTimeoutEnabled: true,
		PoolSize: poolSize, MaxActiveConns: poolSize, PipelinePoolSize: -1, ConnMaxIdleTime: idleTimeout,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
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
