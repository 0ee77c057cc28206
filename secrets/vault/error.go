package vault

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/api"
)

// Kind tells apart why a request failed.
type Kind string

const (
	Denied      Kind = "denied"      // a policy, or the auth method, says no
	Missing     Kind = "missing"     // there is nothing at the path, or not that field
	Sealed      Kind = "sealed"      // the server is sealed, or in standby without an active node
	Unreachable Kind = "unreachable" // it does not answer, or not in time
	Distrusted  Kind = "distrusted"  // its certificate is not trusted, or ours is not by it
	Refused     Kind = "refused"     // it answers that something about the request, the role or the engine is wrong
	Unfit       Kind = "unfit"       // its answer is not of use: too large, no text
)

// Error is a failed request. It holds no value of a secret.
type Error struct {
	Kind       Kind
	Path       string // as in a policy: secret/data/app
	Capability string // that the request needs: read, update
	Detail     string // what is wrong
	Next       string // what to do about it
}

func (e *Error) Error() string {
	text := "vault: " + verbs[e.Capability] + " " + e.Path + ": " + e.Detail
	if e.Next != "" {
		text += "; " + e.Next
	}
	return text
}

var verbs = map[string]string{"read": "read", "update": "write"}

// away says that the server is of no use to anybody for now.
func (e *Error) away() bool {
	return e.Kind == Sealed || e.Kind == Unreachable || e.Kind == Distrusted
}

// PolicyLine is the line that a policy needs for a request.
func PolicyLine(path, capability string) string {
	return fmt.Sprintf("path %q { capabilities = [%q] }", path, capability)
}

// isAway says that an error is Vault's absence rather than its answer.
func isAway(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.away()
}

// kind is an error's Kind, "" of other errors.
func kind(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

// failure makes an Error of what the client library returned.
func (c *Client) failure(path, capability string, err error) error {
	e := &Error{Path: path, Capability: capability}
	var answered *api.ResponseError
	var unknown x509.UnknownAuthorityError
	var other x509.HostnameError
	var invalid x509.CertificateInvalidError
	var op *net.OpError
	switch {
	case errors.As(err, &answered):
		e.answered(answered)
	case errors.Is(err, errTooLarge):
		e.Kind, e.Detail, e.Next = Unfit, "the answer is larger than 1 MiB", "keep large files elsewhere"
	case errors.As(err, &unknown):
		e.Kind, e.Detail = Distrusted, "the certificate of "+c.address()+" was issued by an authority that nobody here trusts"
		e.Next = "name the authority's PEM file: vault.ca, or ca beside the url"
	case errors.As(err, &other):
		e.Kind, e.Detail, e.Next = Distrusted, "the certificate of "+c.address()+" is for another name", "write the name that it was issued for into the address"
	case errors.As(err, &invalid):
		e.Kind, e.Detail, e.Next = Distrusted, "the certificate of "+c.address()+" is not valid: "+invalid.Error(), "renew it, or look at this machine's clock"
	case errors.As(err, &op) && op.Op == "remote error":
		e.Kind, e.Detail, e.Next = Distrusted, c.address()+" does not take our certificate: "+op.Err.Error(), "give the client's certificate and key that it trusts"
	case errors.Is(err, http.ErrSchemeMismatch) || strings.Contains(err.Error(), "HTTP response to HTTPS client"):
		e.Kind, e.Detail, e.Next = Distrusted, c.address()+" does not speak TLS", "write http:// if that is meant"
	case errors.Is(err, context.DeadlineExceeded), timedOut(err):
		e.Kind, e.Detail = Unreachable, c.address()+" did not answer in time"
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("vault: %s %s: %w", verbs[capability], path, err)
	case isDecoding(err):
		e.Kind, e.Detail, e.Next = Unfit, "the answer of "+c.address()+" is not one of Vault", "look at the address"
	default:
		e.Kind, e.Detail = Unreachable, c.address()+" cannot be reached: "+root(err)
		// With TLS 1.3 a server refuses the client's certificate after the handshake, and the refusal can be lost to the end of the connection.
		if strings.HasPrefix(c.address(), "https:") && containsAny(err.Error(), "broken pipe", "connection reset", "forcibly closed", "EOF", "conn could not be established", "connection lost") {
			e.Next = "if it wants a client's certificate, give the one that it trusts, and its key"
		}
	}
	return e
}

func (e *Error) answered(r *api.ResponseError) {
	e.Detail = said(r.Errors)
	switch r.StatusCode {
	case http.StatusForbidden:
		e.Kind, e.Detail, e.Next = Denied, "permission denied", "add to the policy: "+PolicyLine(e.Path, e.Capability)
	case http.StatusNotFound:
		if e.Kind = Missing; e.Detail == "" {
			e.Detail = "there is nothing"
		}
	case http.StatusServiceUnavailable:
		e.Kind = Sealed
		if e.Detail = "Vault is sealed"; len(r.Errors) > 0 && !strings.Contains(strings.Join(r.Errors, " "), "sealed") {
			e.Kind, e.Detail = Unreachable, said(r.Errors)
		}
		e.Next = "what was read before stays in force meanwhile"
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusGatewayTimeout, 472, 473:
		e.Kind = Unreachable
		e.Detail = strings.TrimSuffix(fmt.Sprintf("it is not to be had now (%d): %s", r.StatusCode, e.Detail), ": ")
	default:
		if e.Kind = Refused; e.Detail == "" {
			e.Detail = fmt.Sprintf("Vault answers %d", r.StatusCode)
		}
	}
}

// said is what Vault has to say, on one line and not for ever.
func said(errors []string) string {
	text := strings.Join(strings.Fields(strings.Join(errors, "; ")), " ")
	text = strings.TrimPrefix(text, "1 error occurred: * ")
	if len(text) > 300 {
		text = text[:300] + "..."
	}
	return text
}

func root(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		var op *net.OpError
		if errors.As(err, &op) {
			return op.Err.Error()
		}
		err = inner
	}
}

func timedOut(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func isDecoding(err error) bool {
	var syntax *json.SyntaxError
	var shape *json.UnmarshalTypeError
	return errors.As(err, &syntax) || errors.As(err, &shape) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "invalid character")
}
