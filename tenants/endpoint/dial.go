package endpoint

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// dial connects to addr with connect (nil means the Config's dialer) and does TLS on top. TLS is done here and not by go-redis, because
// go-redis speaks plain text over what a custom Dialer gives it, and because its own handshake does not end with the context.
func (o *Options) dial(ctx context.Context, connect dialFunc, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, o.config.DialTimeout)
	defer cancel()
	if connect == nil {
		connect = o.config.Dial
	}
	if connect == nil {
		connect = (&net.Dialer{}).DialContext
	}
	plain, err := connect(ctx, "tcp", addr)
	if err != nil || o.tls == nil {
		return plain, err
	}
	config := o.tls.Clone()
	if config.ServerName == "" {
		if config.ServerName, _, err = net.SplitHostPort(addr); err != nil {
			return nil, errors.Join(err, ignoreClosed(plain.Close()))
		}
	}
	secure := tls.Client(plain, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", errHandshake, err), ignoreClosed(plain.Close()))
	}
	return secure, nil
}

var errHandshake = errors.New("TLS handshake")

// login is a credential as it was given for one dial.
type login struct{ user, password string }

// login asks for the credential in force.
func (o *Options) login(ctx context.Context) (login, error) {
	user, password, err := o.credentials(ctx)
	if err != nil {
		return login{}, fmt.Errorf("ask for the credential of %s: %w", o.Name(), err)
	}
	return login{user, password}, nil
}

// short are options of a client with one socket, for questions to a Sentinel or a node: connected once, asked once, for at most a while.
func (o *Options) short(connect dialFunc, addr string) *redis.Options {
	return &redis.Options{
		Addr: addr, Protocol: 2,
		Dialer: func(ctx context.Context, _, addr string) (net.Conn, error) {
			c, err := o.dial(ctx, connect, addr)
			return c, o.explain("connect to "+addr, login{}, err)
		},
		DialTimeout: o.config.DialTimeout, DialerRetries: 1, MaxRetries: -1,
		ReadTimeout: questionTimeout, WriteTimeout: questionTimeout, PoolTimeout: questionTimeout, ContextTimeoutEnabled: true,
		PoolSize: 1, MaxActiveConns: 1, PipelinePoolSize: -1, ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// ask makes a client's credentials those in force at each dial, and remembers the last for explanations.
func (o *Options) ask(last *atomic.Pointer[login]) func(context.Context) (string, string, error) {
	return func(ctx context.Context) (string, string, error) {
		l, err := o.login(ctx)
		last.Store(&l)
		return l.user, l.password, err
	}
}

// explainer is a hook that says which server refused a log-in, as whom, and what to do about it.
type explainer struct {
	o    *Options
	last atomic.Pointer[login]
}

func (e *explainer) DialHook(next redis.DialHook) redis.DialHook { return next }

func (e *explainer) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if name := cmd.Name(); err == nil || name == "hello" || name == "auth" { // go-redis falls back from one to the other by their errors
			return err
		}
		if again, because := e.another(ctx, err); again {
			err = next(ctx, cmd) // it was not sent: the log-in before it was refused
		} else if because != nil {
			return because
		}
		return e.explain(err)
	}
}

func (e *explainer) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if greeting(cmds) {
			return e.explain(err)
		}
		if again, because := e.another(ctx, err); again {
			err = next(ctx, cmds)
		} else if because != nil {
			return because
		}
		return e.explain(err)
	}
}

// greeting says that a pipeline is the beginning of a connection, which go-redis sends by the same way.
func greeting(cmds []redis.Cmder) bool {
	if len(cmds) == 0 {
		return true
	}
	name := cmds[0].Name()
	return name == "hello" || name == "auth" || name == "select" || name == "client" || name == "readonly"
}

// another says whether there is another credential than the one that the server has just refused, or why there is none; neither where the error
// is another or nobody can say.
func (e *explainer) another(ctx context.Context, err error) (again bool, because error) {
	l := e.last.Load()
	if err == nil || l == nil || e.o.config.Refused == nil || !redis.HasErrorPrefix(err, "WRONGPASS") {
		return false, nil
	}
	if refused := e.o.config.Refused(ctx, l.user, l.password); refused != nil {
		return false, e.o.explain("log in to "+e.o.Name()+as(*l), *l, fmt.Errorf("%w; %w", err, refused))
	}
	return true, nil
}

// explain leaves ordinary errors of commands as they are.
func (e *explainer) explain(err error) error {
	if err == nil || errors.Is(err, redis.Nil) {
		return err
	}
	l := e.last.Load()
	if l == nil {
		l = &login{}
	}
	if redis.HasErrorPrefix(err, "NOAUTH") || redis.HasErrorPrefix(err, "WRONGPASS") || remoteAlert(err) != "" {
		return e.o.explain("log in to "+e.o.Name()+as(*l), *l, err)
	}
	return scrub(err, l.password)
}

// as says as whom one logs in.
func as(l login) string {
	switch {
	case l.user != "":
		return fmt.Sprintf(" as user %q", l.user)
	case l.password != "":
		return " as the default user"
	}
	return ""
}

// explain says what was tried, and what to do about the error where that is known, and takes the password out wherever it came from: a server
// that does not know HELLO or AUTH quotes its arguments.
func (o *Options) explain(did string, l login, err error) error {
	if err == nil {
		return nil
	}
	if next := o.next(err); next != "" {
		err = fmt.Errorf("%s: %w; %s", did, err, next)
	} else {
		err = fmt.Errorf("%s: %w", did, err)
	}
	return scrub(err, l.password, o.config.SentinelPassword)
}

func scrub(err error, secrets ...string) error {
	text := err.Error()
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "***")
		}
	}
	if text == err.Error() {
		return err
	}
	return scrubbed{text, err}
}

// scrubbed is an error whose text held the password. What it wraps can be compared with, not reached.
type scrubbed struct {
	text  string
	cause error
}

func (e scrubbed) Error() string        { return e.text }
func (e scrubbed) Is(target error) bool { return errors.Is(e.cause, target) }

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, redis.ErrClosed) {
		return nil
	}
	return err
}
