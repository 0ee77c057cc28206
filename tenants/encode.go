package tenants

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"time"
	"unicode"
)

// Settings (Policy, Limits, Grants, Guard) are structs of plain fields that people read and write as JSON: names in snake_case, durations as
// "30s", words for enumerations. The names come from the fields, so a field that is added needs nothing here.

var durationType = reflect.TypeFor[time.Duration]()

// encodeFields writes a struct of settings.
func encodeFields(v any) ([]byte, error) {
	return json.Marshal(plainFields(reflect.ValueOf(v)))
}

func plainFields(v reflect.Value) map[string]any {
	out := make(map[string]any, v.NumField())
	for i := range v.NumField() {
		field := v.Field(i)
		name := snake(v.Type().Field(i).Name)
		switch {
		case field.Type() == durationType:
			out[name] = time.Duration(field.Int()).String()
		case isSettings(field.Type()):
			out[name] = plainFields(field)
		case field.Kind() == reflect.Slice && field.IsNil():
			out[name] = []string{}
		default:
			out[name] = field.Interface()
		}
	}
	return out
}

// isSettings tells whether a field is a struct of settings itself, as opposed to a value with a text of its own.
func isSettings(t reflect.Type) bool {
	_, text := reflect.Zero(t).Interface().(interface{ MarshalText() ([]byte, error) })
	return t.Kind() == reflect.Struct && !text
}

// decodeFields sets the fields that b gives and leaves the others. All faults come at once, as Faults.
func decodeFields(b []byte, to any) error {
	var c checker
	decodeInto(&c, "", b, reflect.ValueOf(to).Elem())
	return c.err()
}

func decodeInto(c *checker, pointer string, b []byte, v reflect.Value) {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		c.add(pointer, "invalid", "it is not an object")
		return
	}
	known := make([]string, v.NumField())
	for i := range known {
		known[i] = snake(v.Type().Field(i).Name)
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		name, _ := t.(string)
		var raw json.RawMessage
		if err == nil {
			err = d.Decode(&raw)
		}
		if err != nil {
			c.add(pointer, "invalid", "it is not JSON")
			return
		}
		at := pointer + "/" + escapePointer(cut(name, 100))
		i := indexOf(known, name)
		switch {
		case i < 0:
			unknownField(c, at, name, known)
		case seen[name]:
			c.add(at, "duplicate", "it is there twice")
		default:
			decodeField(c, at, raw, v.Field(i))
		}
		seen[name] = true
	}
}

func decodeField(c *checker, pointer string, raw json.RawMessage, field reflect.Value) {
	switch {
	case string(raw) == "null":
		c.add(pointer, "invalid", "it must not be null; leave it out instead")
	case field.Type() == durationType:
		var text string
		d, err := time.Duration(0), json.Unmarshal(raw, &text)
		if err == nil {
			d, err = time.ParseDuration(text)
		}
		if err != nil {
			c.add(pointer, "invalid", "%.40s is not a duration such as \"30s\" or \"1m30s\"", raw)
			return
		}
		field.SetInt(int64(d))
	case isSettings(field.Type()):
		decodeInto(c, pointer, raw, field)
	default:
		to := reflect.New(field.Type())
		if err := json.Unmarshal(raw, to.Interface()); err != nil {
			c.add(pointer, "invalid", "%.40s is not %s", raw, kindName(field.Type()))
			return
		}
		if field.Kind() == reflect.Slice && to.Elem().Len() == 0 {
			to = reflect.New(field.Type()) // an empty list and none are the same
		}
		field.Set(to.Elem())
	}
}

func unknownField(c *checker, pointer, name string, known []string) {
	if near, ok := Nearest(name, known); ok {
		c.add(pointer, "unknown_field", "%.40q is not known here; did you mean %q?", name, near)
		return
	}
	c.add(pointer, "unknown_field", "%.40q is not known here", name)
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Uint64:
		return "a whole number from 0 up"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list of strings"
	}
	return "one of its words"
}

func indexOf(of []string, s string) int {
	for i := range of {
		if of[i] == s {
			return i
		}
	}
	return -1
}

// snake turns a field's name into a JSON name: QueueBytes to queue_bytes, MaxCPU to max_cpu, CPUTime to cpu_time.
func snake(name string) string {
	var b strings.Builder
	letters := []rune(name)
	for i, r := range letters {
		if i > 0 && unicode.IsUpper(r) && (!unicode.IsUpper(letters[i-1]) || i+1 < len(letters) && unicode.IsLower(letters[i+1])) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// escapePointer writes a name as one token of a JSON pointer (RFC 6901 section 3).
func escapePointer(s string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(s)
}
