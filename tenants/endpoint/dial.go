package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// dialTimeout bounds one attempt to connect, TLS handshake included.
const dialTimeout = 5 * time.Second

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// dial connects with connect (nil means the system's dialer) and does TLS on top. TLS is done here and not by go-redis, because go-redis
// speaks plain text over what a custom Dialer gives it, and because its own handshake does not end with the context.
func (o *Options) dial(ctx context.Context, connect dialFunc) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if connect == nil {
		connect = (&net.Dialer{}).DialContext
	}
	plain, err := connect(ctx, "tcp", o.Name())
	if err != nil || !o.tls {
		return plain, err
	}
	secure := tls.Client(plain, &tls.Config{ServerName: o.host, MinVersion: tls.VersionTLS12})
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", errHandshake, err), ignoreClosed(plain.Close()))
	}
	return secure, nil
}

var errHandshake = errors.New("TLS handshake")

// explain says which server, and what to do about the error where that is known, and takes the password out wherever it came from: a server
// that does not know HELLO or AUTH quotes its arguments.
func (o *Options) explain(did string, err error) error {
	if err == nil {
		return nil
	}
	if next := o.next(err); next != "" {
		err = fmt.Errorf("%s %s: %w; %s", did, o.Name(), err, next)
	} else {
		err = fmt.Errorf("%s %s: %w", did, o.Name(), err)
	}
	if o.password == "" || !strings.Contains(err.Error(), o.password) {
		return err
	}
	return scrubbed{strings.ReplaceAll(err.Error(), o.password, "***"), err}
}

// scrubbed is an error whose text held the password. What it wraps can be compared with, not reached.
type scrubbed struct {
	text  string
	cause error
}

func (e scrubbed) Error() string        { return e.text }
func (e scrubbed) Is(target error) bool { return errors.Is(e.cause, target) }

func (o *Options) next(err error) string {
	var unknown x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	switch {
	case redis.HasErrorPrefix(err, "NOAUTH"):
		return "the server wants a password: write it into the address, redis://:password@host"
	case redis.HasErrorPrefix(err, "WRONGPASS"):
		return "check user and password, and percent-encode their special characters"
	case redis.HasErrorPrefix(err, "NOPERM"):
		return "grant the user +ping"
	case errors.As(err, &unknown):
		return "name the authority's PEM file in SSL_CERT_FILE"
	case errors.As(err, &record), errors.Is(err, errHandshake) && errors.Is(err, context.DeadlineExceeded): // Redis waits for more of the hello
		return "if the server does not speak TLS on this port, write redis://"
	case !o.tls && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return "if the server speaks TLS on this port, write rediss://"
	}
	return ""
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, redis.ErrClosed) {
		return nil
	}
	return err
}
