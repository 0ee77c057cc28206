// Package abi is the floor of the SDK: the calls a guest makes and receives in the core ABI of Spin's first generation
// (shape A, wit-bindgen 0.2), as Go functions with Go values.
//
// For GOOS=wasip1 the functions are imports of the host, and the package owns the guest's allocator and the export
// "handle-redis-message". For every other target the same functions talk to a Memory, so that handlers run in plain
// "go test". The package refuses policy: names, errors and their meaning belong to the packages above it.
package abi

import (
	"runtime"
	"strconv"
	"strings"
)

// Handler takes one message's payload, which it then owns.
type Handler func(payload []byte) error

var handler Handler

// SetHandler registers what the host's messages go to. A second registration panics: one module is one handler.
func SetHandler(h Handler) {
	if h == nil {
		panic("redis: Handle needs a function")
	}
	if handler != nil {
		panic("redis: Handle was called twice; a module has one handler")
	}
	handler = h
}

// Param is one argument of execute: a number, or bytes.
type Param struct {
	Binary bool
	Int    int64
	Bytes  string
}

// Tags of a Value, as the ABI numbers them.
const (
	Nil uint8 = iota
	Status
	Int64
	Binary
)

// Value is one element of execute's answer. Bytes holds a Status's or a Binary's text.
type Value struct {
	Tag   uint8
	Int   int64
	Bytes []byte
}

// Failure is the error arm of spin-config and key-value calls: which case, and the host's text if the case has one.
type Failure struct {
	Tag    uint8
	Detail string
}

// Cases of spin-config's error.
const (
	ConfigProvider uint8 = iota // also: nobody defines the variable
	ConfigInvalidKey
	ConfigInvalidSchema
	ConfigOther
)

// Cases of key-value's error.
const (
	KVStoreTableFull uint8 = iota
	KVNoSuchStore
	KVAccessDenied
	KVInvalidStore
	KVNoSuchKey
	KVIO
)

// Cases of wasi-outbound-http's error. Zero is success and never the error of a failed request.
const (
	HTTPDestinationNotAllowed uint8 = iota + 1
	HTTPInvalidURL
	HTTPRequestError
	HTTPRuntimeError
	HTTPTooManyRequests
)

// Request is what wasi-outbound-http sends. Method is the ABI's number: get, post, put, delete, patch, head, options.
// A nil Body is no body.
type Request struct {
	Method uint8
	URL    string
	Header [][2]string
	Body   []byte
}

// Response is what came back.
type Response struct {
	Status uint16
	Header [][2]string
	Body   []byte
}

// panicked is a handler's panic as an error of one line.
type panicked struct{ where, what string }

func (p *panicked) Error() string { return "panic at " + p.where + ": " + p.what }

// noHandler is the answer of a module that forgot to call redis.Handle.
type noHandler struct{}

func (noHandler) Error() string { return "no handler: call redis.Handle in an init function" }

// run gives one payload to the handler. It is the SDK's one recover: a panic becomes an error, so that the host reads an
// answer instead of a trap and the instance stays usable.
func run(payload []byte) (err error) {
	if handler == nil {
		return noHandler{}
	}
	defer func() {
		if v := recover(); v != nil {
			err = &panicked{where: origin(), what: describe(v)}
		}
	}()
	return handler(payload)
}

// origin is the file and line that panicked: the first frame under runtime.gopanic that is not the runtime's own.
func origin() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	inPanic := false
	for {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			inPanic = true
		case inPanic && !strings.HasPrefix(f.Function, "runtime."):
			return f.File[strings.LastIndexByte(f.File, '/')+1:] + ":" + strconv.Itoa(f.Line)
		}
		if !more {
			return "an unknown place"
		}
	}
}

// describe spells a panic value without package fmt, which would add half a megabyte to each module.
func describe(v any) string {
	switch v := v.(type) {
	case error:
		return v.Error()
	case interface{ String() string }:
		return v.String()
	case string:
		return v
	case int:
		return strconv.Itoa(v)
	}
	return "a value that is neither an error nor a string"
}
