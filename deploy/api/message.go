package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

// Bounds of a message's request, beside MaxPayload.
const (
	maxName     = 64 << 10                      // bytes of a channel or pattern: what the scheduler subscribes to
	maxBody     = 6*(MaxPayload+maxName) + 4096 // JSON may spell a byte with six characters
	bodyTimeout = 30 * time.Second              // from its first byte to its last
)

// message is what a client wants published.
type message struct {
	to       tenants.Target // a channel or a sharded channel
	payload  []byte
	endpoint string // name or address of the server; "" leaves the choice to us
	wait     time.Duration
	parent   string // traceparent; "" for none
}

// messageRequest is its form in JSON. A message without a payload is empty.
type messageRequest struct {
	Channel       string            `json:"channel"`
	Payload       *string           `json:"payload"`
	PayloadBase64 []byte            `json:"payload_base64"`
	Endpoint      string            `json:"endpoint"`
	Sharded       bool              `json:"sharded"`
	Wait          *string           `json:"wait"`
	Headers       map[string]string `json:"headers"`
}

var messageFields = []string{"channel", "payload", "payload_base64", "endpoint", "sharded", "wait", "headers"}

// readMessage reads the request's body and finds all that is wrong with it.
func readMessage(w http.ResponseWriter, r *http.Request) (message, error) {
	body, err := readAll(w, r, maxBody)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return message{}, messageTooLarge()
	case err != nil:
		return message{}, err
	}
	in, wrong := decodeMessage(body)
	if wrong != nil {
		return message{}, invalidMessage(*wrong)
	}
	m, faults := in.check()
	switch {
	case len(faults) > 0:
		return message{}, invalidMessage(faults...)
	case len(m.payload) > MaxPayload:
		return message{}, messageTooLarge()
	}
	return m, nil
}

func messageTooLarge() *problem {
	return &problem{Status: http.StatusRequestEntityTooLarge, Code: "message_too_large", Title: "Message too large",
		Detail: fmt.Sprintf("a message may have %d bytes", MaxPayload), Next: "Keep large data in Redis and publish its key."}
}

func invalidMessage(faults ...fault) *problem {
	return &problem{Status: http.StatusBadRequest, Code: "invalid_message", Title: "Bad request", Detail: "the message cannot be published as it stands",
		Next: `Send {"channel":"greetings","payload":"text"}.`, Errors: faults}
}

// decodeMessage reads JSON. What Go's decoder would mend in silence is a fault here: the payload that is published is the one that was sent.
func decodeMessage(body []byte) (in messageRequest, wrong *fault) {
	switch {
	case !utf8.Valid(body):
		return in, &fault{"", "invalid_utf8", "the body is not UTF-8; send other bytes as payload_base64"}
	case loneSurrogate(body):
		return in, &fault{"", "invalid_utf8", `half of a surrogate pair (\ud800 to \udfff) is no text; send other bytes as payload_base64`}
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&in)
	var corrupt base64.CorruptInputError
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		if _, err := decoder.Token(); err != io.EOF {
			return in, &fault{"", "invalid_json", "something follows the message"}
		}
		return in, nil
	case errors.As(err, &kind) && kind.Field == "":
		return in, &fault{"", "invalid_type", "must be an object, not " + kind.Value}
	case errors.As(err, &kind):
		want := "a string"
		if kind.Type.Kind() == reflect.Bool {
			want = "true or false"
		}
		return in, &fault{"/" + kind.Field, "invalid_type", "must be " + want + ", not " + kind.Value}
	case errors.As(err, &corrupt):
		return in, &fault{"/payload_base64", "invalid_base64", corrupt.Error()}
	case errors.Is(err, io.EOF):
		return in, &fault{"", "invalid_json", "the body is empty"}
	}
	if quoted, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok { // the decoder has no type for it
		name, err := strconv.Unquote(quoted)
		if err == nil {
			return in, &fault{"/" + clip(pointer.Replace(name)), "unknown_field", "is not known" + advice(name, messageFields)}
		}
	}
	return in, &fault{"", "invalid_json", clip(err.Error())}
}

var pointer = strings.NewReplacer("~", "~0", "/", "~1") // RFC 6901

// check finds all that is wrong with a message but its size.
func (in messageRequest) check() (m message, faults []fault) {
	wrong := func(pointer, code, format string, args ...any) {
		faults = append(faults, fault{pointer, code, fmt.Sprintf(format, args...)})
	}
	m = message{to: tenants.Target{Name: in.Channel}, payload: in.PayloadBase64, endpoint: in.Endpoint, wait: DefaultWait}
	if in.Sharded {
		m.to.Kind = tenants.Sharded
	}
	switch n := len(in.Channel); {
	case n == 0:
		wrong("/channel", "missing", "is missing")
	case n > maxName:
		wrong("/channel", "too_long", "has %d bytes, at most %d are allowed", n, maxName)
	}
	if in.Payload != nil {
		m.payload = []byte(*in.Payload)
	}
	if in.Payload != nil && in.PayloadBase64 != nil {
		wrong("/payload_base64", "conflict", "payload and payload_base64 exclude each other")
	}
	for name, value := range in.Headers {
		if name != "traceparent" {
			wrong("/headers/"+clip(pointer.Replace(name)), "unknown_header", "is no header that a message can have: Redis' pub/sub has none, and traceparent goes in an envelope")
			continue
		}
		if _, ok := telemetry.ParseTraceparent([]byte(value)); !ok {
			wrong("/headers/traceparent", "invalid_traceparent", "%q is not 00-<32 hexadecimal digits>-<16>-<2>", clip(value))
		}
		m.parent = value
	}
	if in.Wait != nil {
		var err error
		if m.wait, err = time.ParseDuration(*in.Wait); err != nil || m.wait < 0 || m.wait > MaxWait {
			wrong("/wait", "invalid_duration", "%q is not a duration from 0s to %v", clip(*in.Wait), MaxWait)
		}
	}
	return m, faults
}

// loneSurrogate looks for half of a UTF-16 pair among JSON's escapes, which a decoder replaces by U+FFFD.
func loneSurrogate(body []byte) bool {
	for {
		at := bytes.IndexByte(body, '\\')
		if at < 0 {
			return false
		}
		body = body[at:]
		first, ok := escaped(body)
		switch {
		case !ok:
			body = body[min(2, len(body)):] // another escape
			continue
		case first < 0xd800 || first > 0xdfff:
			body = body[6:]
			continue
		}
		second, ok := escaped(body[6:])
		if !ok || first > 0xdbff || second < 0xdc00 || second > 0xdfff {
			return true
		}
		body = body[12:]
	}
}

// escaped reads \uXXXX.
func escaped(b []byte) (uint64, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	return n, err == nil
}
