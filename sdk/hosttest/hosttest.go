//go:build !wasip1

// Package hosttest is the door to the host in memory that handlers meet in "go test": set variables, deliver messages,
// look at what was published. Redis is a table per address, which redis.Dial reads and writes in the test as it does in
// the handler.
//
// A process has one such host, as a module has one. Call Reset first in each test, and do not run such tests in parallel.
// The package does not exist for GOOS=wasip1: test with the platform's own Go.
package hosttest

import (
	"errors"
	"strconv"

	"github.com/tenloom/tenloom/sdk/http"
	"github.com/tenloom/tenloom/sdk/internal/abi"
	"github.com/tenloom/tenloom/sdk/redis"
)

// Reset forgets variables, data, publications and functions. One empty key-value store is left, "default".
func Reset() { abi.Host.Reset() }

// SetVariable defines a variable of the component.
func SetVariable(name, value string) { abi.Host.SetVariable(name, value) }

// Refuse makes every command to a Redis address fail, as for one that allowed_outbound_hosts does not list.
func Refuse(address string) { abi.Host.Refuse(address) }

// AddStore adds an empty key-value store.
func AddStore(label string) { abi.Host.AddStore(label) }

// Message is what to deliver. Fields left empty are variables that the host does not define, as on Spin.
type Message struct {
	Channel, Pattern, ID, TraceParent string
	Attempt                           int
	Payload                           []byte
}

// Deliver gives a message to the handler that redis.Handle registered, and answers what it answers. A panic comes back
// as an error, as the host sees it.
func Deliver(m Message) error {
	attributes := map[string]string{"tenloom_channel": m.Channel, "tenloom_pattern": m.Pattern, "tenloom_message_id": m.ID,
		"tenloom_traceparent": m.TraceParent, "tenloom_attempt": ""}
	if m.Attempt != 0 {
		attributes["tenloom_attempt"] = strconv.Itoa(m.Attempt)
	}
	for name, value := range attributes {
		if value == "" {
			delete(attributes, name)
		}
	}
	return abi.Host.Deliver(attributes, m.Payload)
}

// Publication is a message that the handler published.
type Publication struct {
	Address, Channel string
	Payload          []byte
}

// Published lists what was published since Reset, in order.
func Published() []Publication {
	var out []Publication
	for _, p := range abi.Host.Published() {
		out = append(out, Publication(p))
	}
	return out
}

// HandleHTTP sets what answers http.Do; without it every destination is refused. An error of package http comes back
// from Do as itself, any other as http.ErrRequest.
func HandleHTTP(f func(http.Request) (http.Response, error)) {
	methods := []string{"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"}
	abi.Host.ServeHTTP(func(r abi.Request) (abi.Response, uint8) {
		request := http.Request{Method: methods[r.Method], URL: r.URL, Body: r.Body}
		for _, h := range r.Header {
			request.Header = append(request.Header, http.Field{Name: h[0], Value: h[1]})
		}
		response, err := f(request)
		if err != nil {
			return abi.Response{}, code(err)
		}
		out := abi.Response{Status: uint16(response.Status), Body: response.Body}
		for _, h := range response.Header {
			out.Header = append(out.Header, [2]string{h.Name, h.Value})
		}
		return out, 0
	})
}

func code(err error) uint8 {
	switch {
	case errors.Is(err, http.ErrDestinationNotAllowed):
		return abi.HTTPDestinationNotAllowed
	case errors.Is(err, http.ErrInvalidURL):
		return abi.HTTPInvalidURL
	case errors.Is(err, http.ErrRuntime):
		return abi.HTTPRuntimeError
	case errors.Is(err, http.ErrTooManyRequests):
		return abi.HTTPTooManyRequests
	}
	return abi.HTTPRequestError
}

// HandleExecute sets what answers commands of Client.Execute that the host in memory does not know. It knows PING, GET,
// SET with two arguments, APPEND, INCR, INCRBY, DEL, EXISTS, SADD, SREM, SMEMBERS and PUBLISH. Arguments are strings and
// int64s. Any error is redis.ErrFailed to the handler.
func HandleExecute(f func(address, command string, args []any) ([]redis.Result, error)) {
	abi.Host.ServeExecute(func(address, command string, params []abi.Param) ([]abi.Value, bool) {
		args := make([]any, len(params))
		for i, p := range params {
			if args[i] = p.Int; p.Binary {
				args[i] = p.Bytes
			}
		}
		results, err := f(address, command, args)
		if err != nil {
			return nil, false
		}
		values := make([]abi.Value, len(results))
		for i, r := range results {
			values[i] = abi.Value{Tag: uint8(r.Kind), Int: r.Int, Bytes: r.Bytes}
		}
		return values, true
	})
}
