package api

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tenloom/tenloom/tenants"
)

// maxJSON bounds the body of most requests, in bytes: the largest is a policy with full lists.
const maxJSON = 4 << 20

// bodyless refuses what nobody would read.
func bodyless(r *http.Request) error {
	if r.ContentLength > 0 || r.ContentLength < 0 {
		var one [1]byte
		if n, err := io.ReadFull(r.Body, one[:]); n > 0 || err != io.EOF {
			return badRequest("unexpected_body", "this request has no body", "Send it without one.")
		}
	}
	return nil
}

// isJSON refuses a body that says it is something else, or that is compressed: what is sent is what is counted.
func isJSON(r *http.Request) error {
	kind := r.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(kind)
	if kind != "" && (err != nil || media != "application/json" && !strings.HasSuffix(media, "+json")) {
		return &problem{Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type", Title: "Unsupported media type",
			Detail: clip(kind) + " is not read here", Next: "Send application/json."}
	}
	return plainEncoding(r)
}

func plainEncoding(r *http.Request) error {
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return &problem{Status: http.StatusUnsupportedMediaType, Code: "unsupported_encoding", Title: "Unsupported content encoding",
			Detail: clip(e) + " is not unpacked here", Next: "Send the body as it is."}
	}
	return nil
}

// readAll reads a body that is neither too long nor too slow. The server takes the deadline off when the body has ended.
func readAll(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	c := http.NewResponseController(w)
	if err := c.SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return nil, err
	}
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var long *http.MaxBytesError
	if err != nil && !errors.As(err, &long) && !isTimeout(err) {
		return nil, invalid(fault{Code: "unreadable", Detail: clip("read body: " + err.Error())})
	}
	return b, err
}

// readJSON reads the body of a request into a struct. All that is wrong with it is told at once.
func (c *call) readJSON(to any) error {
	b, err := c.readBody(maxJSON)
	if err != nil {
		return err
	}
	return decodeJSON(b, to)
}

// readBody reads a body of JSON as it stands, and refuses what a decoder would mend in silence.
func (c *call) readBody(most int64) ([]byte, error) {
	if err := isJSON(c.r); err != nil {
		return nil, err
	}
	b, err := readAll(c.w, c.r, most)
	switch {
	case err != nil:
		return nil, err
	case !utf8.Valid(b):
		return nil, invalid(fault{Code: "invalid_utf8", Detail: "the body is not UTF-8"})
	case loneSurrogate(b):
		return nil, invalid(fault{Code: "invalid_utf8", Detail: `half of a surrogate pair (\ud800 to \udfff) is no text`})
	case !json.Valid(b):
		var any json.RawMessage
		detail := "it is empty"
		if len(bytes.TrimSpace(b)) > 0 {
			detail = clip(json.Unmarshal(b, &any).Error())
		}
		return nil, invalid(fault{Code: "invalid_json", Detail: detail})
	}
	return b, nil
}

// decodeJSON sets the fields of a struct from a JSON object. Unknown and repeated names are faults, and so are values of another type.
func decodeJSON(b []byte, to any) error {
	var faults []fault
	decodeObject(&faults, "", b, reflect.ValueOf(to).Elem())
	if len(faults) > 0 {
		return invalid(faults...)
	}
	return nil
}

// maxFaults is how many faults of a body are told.
const maxFaults = 100

func addFault(all *[]fault, pointer, code, format string, args ...any) {
	if len(*all) < maxFaults {
		*all = append(*all, fault{Pointer: pointer, Code: code, Detail: clip(fmt.Sprintf(format, args...))})
	}
}

func decodeObject(faults *[]fault, at string, b []byte, v reflect.Value) {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		addFault(faults, at, "invalid_type", "must be an object")
		return
	}
	names, seen := fieldNames(v.Type()), map[string]bool{}
	for d.More() {
		t, err := d.Token()
		name, _ := t.(string)
		var raw json.RawMessage
		if err == nil {
			err = d.Decode(&raw)
		}
		if err != nil {
			addFault(faults, at, "invalid_json", "%v", err)
			return
		}
		path := at + "/" + clip(pointer.Replace(name))
		i := -1
		for n := range names {
			if names[n] == name {
				i = n
			}
		}
		switch {
		case i < 0:
			addFault(faults, path, "unknown_field", "is not known%s", advice(name, names))
		case seen[name]:
			addFault(faults, path, "duplicate", "is there twice")
		default:
			decodeValue(faults, path, raw, v.Field(i))
		}
		seen[name] = true
	}
}

func fieldNames(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	return names
}

func decodeValue(faults *[]fault, at string, raw []byte, v reflect.Value) {
	t := v.Type()
	switch {
	case string(raw) == "null":
		addFault(faults, at, "invalid_type", "must not be null; leave it out instead")
		return
	case t.Kind() == reflect.Pointer && isObject(t.Elem()):
		v.Set(reflect.New(t.Elem()))
		decodeObject(faults, at, raw, v.Elem())
		return
	case isObject(t):
		decodeObject(faults, at, raw, v)
		return
	case t.Kind() == reflect.Slice && isObject(t.Elem()):
		var each []json.RawMessage
		if json.Unmarshal(raw, &each) != nil {
			addFault(faults, at, "invalid_type", "must be a list")
			return
		}
		v.Set(reflect.MakeSlice(t, len(each), len(each)))
		for i := range each {
			decodeValue(faults, fmt.Sprintf("%s/%d", at, i), each[i], v.Index(i))
		}
		return
	}
	err := json.Unmarshal(raw, v.Addr().Interface())
	var more tenants.Faults
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
	case errors.As(err, &more):
		for _, f := range more {
			addFault(faults, at+f.Pointer, f.Code, "%s", f.Detail)
		}
	case errors.As(err, &kind):
		addFault(faults, at, "invalid_type", "must be %s, not %s", typeName(t), kind.Value)
	default:
		addFault(faults, at, "invalid", "%v", err)
	}
}

// isObject tells whether a type is a struct that decodeObject reads, as opposed to one with a form of its own.
func isObject(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return t.Kind() == reflect.Struct && !p.Implements(reflect.TypeFor[json.Unmarshaler]()) && !p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

func typeName(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Map:
		return "an object of strings"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	}
	return "another type"
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout()
}
