package wasi

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/outbound"
)

// The cases of error-code that are answered.
const (
	httpDNSTimeout        = 0
	httpDNSError          = 1
	httpProhibited        = 4
	httpRefused           = 6
	httpTerminated        = 7
	httpConnectionTimeout = 8
	httpReadTimeout       = 9
	httpLimit             = 11
	httpTLS               = 12
	httpCertificate       = 13
	httpDenied            = 15
	httpRequestBodySize   = 17
	httpURI               = 19
	httpResponseBodySize  = 28
	httpResponseTimeout   = 33
	httpProtocol          = 35
	httpInternal          = 38
)

// httpFailure is an error-code.
type httpFailure struct {
	code int
	text string // of httpInternal
}

// Error makes it an error of a stream.
func (f *httpFailure) Error() string {
	switch f.code {
	case httpInternal:
		return f.text
	case httpReadTimeout:
		return "the response does not go on in time"
	case httpResponseBodySize:
		return outbound.ErrResponseTooLarge.Error()
	}
	return "the connection has failed"
}

// write writes the case with its payload.
func (f *httpFailure) write(out *canon.Writer) {
	out.Case(f.code)
	switch f.code {
	case httpDNSError:
		out.None()
		out.None()
	case httpRequestBodySize, httpResponseBodySize:
		out.None()
	case httpInternal:
		out.Some()
		out.String(f.text)
	}
}

// httpFailed finds the error-code of what the Gate or the network says.
func httpFailed(err error) *httpFailure {
	var (
		known       *httpFailure
		denied      *outbound.Denied
		dns         *net.DNSError
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		network     net.Error
	)
	code := httpInternal
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &denied):
		code = httpDenied
	case errors.Is(err, outbound.ErrProhibited):
		code = httpProhibited
	case errors.Is(err, outbound.ErrInvalidAddress):
		code = httpURI
	case errors.Is(err, outbound.ErrTooManyConnections):
		code = httpLimit
	case errors.Is(err, outbound.ErrResponseTooLarge):
		code = httpResponseBodySize
	case errors.As(err, &dns) && dns.IsTimeout:
		code = httpDNSTimeout
	case errors.As(err, &dns):
		code = httpDNSError
	case errors.As(err, &certificate):
		code = httpCertificate
	case errors.As(err, &record):
		code = httpTLS
	case errors.Is(err, syscall.ECONNREFUSED):
		code = httpRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		code = httpTerminated
	case errors.As(err, &network) && network.Timeout(), errors.Is(err, context.DeadlineExceeded):
		code = httpConnectionTimeout
	}
	if code == httpInternal {
		return &httpFailure{code, bounded(err.Error())}
	}
	return &httpFailure{code: code}
}

// maxText bounds a text that a guest is given, in bytes.
const maxText = 2 << 10

func bounded(text string) string { return text[:min(len(text), maxText)] }

func httpErrorCode(_ *canon.Call, in *canon.Reader, out *canon.Writer) {
	var f *httpFailure
	if !errors.As(canon.Borrow[*failure](in).err, &f) {
		out.None()
		return
	}
	out.Some()
	f.write(out)
}
