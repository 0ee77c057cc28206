package endpoint

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// next is what to do about an error of dialling or logging in, "" where that is not known.
func (o *Options) next(err error) string {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	switch {
	case redis.HasErrorPrefix(err, "NOAUTH"):
		return "the server wants a password: write it into the address, redis://:password@host"
	case redis.HasErrorPrefix(err, "WRONGPASS") && o.config.Credentials != nil:
		return "" // whoever gives them says what to do
	case redis.HasErrorPrefix(err, "WRONGPASS"):
		return "check user and password, and percent-encode their special characters"
	case redis.HasErrorPrefix(err, "NOPERM"):
		return "grant the user +" + refused(err.Error())
	case strings.Contains(err.Error(), "This instance has cluster support disabled"):
		return "it is a single server: write redis:// or leave ?cluster=true out"
	case unknownCommand(err, "sentinel"):
		return "it is no Sentinel: name the Sentinels' own port, most often 26379"
	case unknownCommand(err, "cluster"):
		return "it is no node of a cluster; for Sentinels write redis+sentinel://host/master"
	case errors.As(err, &unknown) && o.config.TLS.CA != nil:
		return "the authority given is not the one that issued the server's certificate"
	case errors.As(err, &unknown):
		return "name the authority's PEM file in SSL_CERT_FILE"
	case errors.As(err, &name):
		return "give the name that the certificate was issued for, as host or as TLS.ServerName"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "renew the server's certificate, or look at this machine's clock"
	case remoteAlert(err) != "":
		return o.nextAfter(remoteAlert(err))
	case errors.As(err, &record), errors.Is(err, errHandshake) && errors.Is(err, context.DeadlineExceeded): // Redis waits for more of the hello
		return "if the server does not speak TLS on this port, write redis://"
	case o.tls == nil && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return "if the server speaks TLS on this port, write rediss://"
	}
	return ""
}

func unknownCommand(err error, name string) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "unknown command '"+name) || strings.Contains(text, "unknown command `"+name)
}

// remoteAlert is what the server said against our side of TLS, or "". In TLS 1.3 it comes after the handshake, with the first reply.
func remoteAlert(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return op.Err.Error()
	}
	return ""
}

func (o *Options) nextAfter(alert string) string {
	if ended := o.expired(time.Now()); ended != nil {
		return ended.Error()
	}
	if o.certificate == nil {
		return "the server wants a client's certificate: give TLS.Cert and TLS.Key"
	}
	if strings.Contains(alert, "unknown certificate authority") || strings.Contains(alert, "bad certificate") {
		return "the server does not trust the client's certificate: have it issued by an authority in the server's tls-ca-cert-file"
	}
	return "the server refuses the client's certificate"
}

// refused is the command that a NOPERM error names: "... to run the 'cluster|slots' command".
func refused(text string) string {
	_, after, _ := strings.Cut(text, "'")
	command, _, found := strings.Cut(after, "'")
	if !found || command == "" {
		return "ping"
	}
	return strings.ToLower(command)
}
