package secrets_test

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/secrets"
)

const secret = "hunter2-s3cr3t"

// exposed and hidden are the two ways a Value can stand in a struct: printers call methods on the first and reflect into the second.
type exposed struct {
	Value   secrets.Value
	Pointer *secrets.Value
	List    []secrets.Value
	Map     map[string]secrets.Value
	Any     any
}

type hidden struct {
	value   secrets.Value
	pointer *secrets.Value
	list    []secrets.Value
	byName  map[string]secrets.Value
	any     any
}

func holders() []any {
	v := secrets.NewValue(secret)
	list, byName := []secrets.Value{v}, map[string]secrets.Value{"password": v}
	return []any{
		v, &v, list, byName, []any{v},
		exposed{v, &v, list, byName, v}, &exposed{v, &v, list, byName, v},
		hidden{v, &v, list, byName, v}, &hidden{v, &v, list, byName, v},
		struct{ inner hidden }{hidden{value: v}},
		secrets.Static(map[string]string{"password": secret}),
		secrets.NewResolver([]secrets.Variable{{Name: "password"}}, secrets.Static(map[string]string{"password": secret})),
	}
}

// leaks finds the secret as text, in hexadecimal and as a list of bytes.
func leaks(s string) bool {
	return strings.Contains(s, secret) || strings.Contains(strings.ToLower(s), fmt.Sprintf("%x", secret)) ||
		strings.Contains(s, strings.Trim(fmt.Sprint([]byte(secret)), "[]"))
}

func TestValueNeverPrints(t *testing.T) {
	flags := []string{"", "+", "#", "-40", "040", ".3", "+#", " "}
	for _, holder := range holders() {
		for verb := '!'; verb <= '~'; verb++ {
			if strings.ContainsRune("%*[]0123456789.+-#", verb) {
				continue
			}
			for _, flag := range flags {
				format := "%" + flag + string(verb)
				if got := fmt.Sprintf(format, holder); leaks(got) {
					t.Errorf("%T with %s prints %s", holder, format, got)
				}
			}
		}
		if got := fmt.Sprint(holder) + fmt.Sprintln(holder); leaks(got) {
			t.Errorf("%T prints %s", holder, got)
		}
		if got := fmt.Errorf("dial: %v: %w", holder, io.EOF).Error(); leaks(got) {
			t.Errorf("%T in an error prints %s", holder, got)
		}
	}
}

func TestValuePrintsRedacted(t *testing.T) {
	v := secrets.NewValue(secret)
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T%v"} {
		args := []any{v}
		want := "[redacted]"
		if format == "%T%v" {
			args, want = []any{v, v}, "secrets.Value[redacted]"
		}
		if got := fmt.Sprintf(format, args...); got != want {
			t.Errorf("%s prints %s, want %s", format, got, want)
		}
	}
	if got := v.String() + v.GoString(); got != "[redacted][redacted]" {
		t.Error(got)
	}
	if got := fmt.Sprintf("%+v", exposed{Value: v}); !strings.Contains(got, "Value:[redacted]") {
		t.Error(got)
	}
	if v.Reveal() != secret {
		t.Error("Reveal lost the text")
	}
	if (secrets.Value{}).Reveal() != "" {
		t.Error("the zero Value holds a text")
	}
}

func TestValueNeverEncodes(t *testing.T) {
	encoders := map[string]func(any) ([]byte, error){
		"json": json.Marshal,
		"xml":  xml.Marshal,
		"gob": func(v any) ([]byte, error) {
			var b bytes.Buffer
			err := gob.NewEncoder(&b).Encode(v)
			return b.Bytes(), err
		},
	}
	for name, encode := range encoders {
		for _, holder := range holders() {
			// Some holders cannot be encoded; the message of that error must be clean too.
			text, err := encode(holder)
			if leaks(string(text)) || err != nil && leaks(err.Error()) {
				t.Errorf("%s of %T: %s, %v", name, holder, text, err)
			}
		}
	}
	v := secrets.NewValue(secret)
	text, err := json.Marshal(exposed{Value: v, List: []secrets.Value{v}})
	want := `{"Value":"[redacted]","Pointer":null,"List":["[redacted]"],"Map":null,"Any":null}`
	if err != nil || string(text) != want {
		t.Errorf("%s, %v, want %s", text, err, want)
	}
	if text, err := v.MarshalText(); err != nil || string(text) != "[redacted]" {
		t.Errorf("%s, %v", text, err)
	}
}

func TestValueNeverLogs(t *testing.T) {
	var out bytes.Buffer
	options := &slog.HandlerOptions{Level: slog.LevelDebug}
	for name, logger := range map[string]*slog.Logger{
		"text": slog.New(slog.NewTextHandler(&out, options)),
		"json": slog.New(slog.NewJSONHandler(&out, options)),
	} {
		for _, holder := range holders() {
			out.Reset()
			logger.Info("resolved", "value", holder, slog.Group("in", "value", holder))
			logger.With("value", holder).Error("resolve", "error", fmt.Errorf("bad %v", holder))
			if leaks(out.String()) {
				t.Errorf("%s log of %T: %s", name, holder, out.String())
			}
		}
		out.Reset()
		logger.Info("resolved", "value", secrets.NewValue(secret))
		if !strings.Contains(out.String(), "[redacted]") {
			t.Errorf("%s log: %s", name, out.String())
		}
	}
	out.Reset()
	for _, holder := range holders() {
		log.New(&out, "", 0).Printf("%v %+v %#v", holder, holder, holder)
	}
	if leaks(out.String()) {
		t.Errorf("log: %s", out.String())
	}
}

// A panic prints its value too.
func TestValueNeverPanics(t *testing.T) {
	defer func() {
		if got := fmt.Sprint(recover()); leaks(got) {
			t.Error(got)
		}
	}()
	panic(secrets.NewValue(secret))
}

// TestValueNeverCrashes has a process of its own die of panics that hold a Value, and reads what the runtime prints, which no recover sees.
func TestValueNeverCrashes(t *testing.T) {
	v := secrets.NewValue(secret)
	crashes := map[string]any{"value": v, "pointer": &v, "error": fmt.Errorf("open %v: %w", v, io.EOF), "struct": exposed{Value: v, Pointer: &v, Any: v}, "list": []any{v}}
	if which := os.Getenv("TENLOOM_TEST_CRASH"); which != "" {
		panic(crashes[which])
	}
	for which := range crashes {
		cmd := exec.Command(os.Args[0], "-test.run=^TestValueNeverCrashes$")
		cmd.Env = append(os.Environ(), "TENLOOM_TEST_CRASH="+which)
		out, err := cmd.CombinedOutput()
		var died *exec.ExitError
		if !errors.As(err, &died) || !strings.Contains(string(out), "panic: ") || !strings.Contains(string(out), "goroutine ") {
			t.Errorf("%s: %v: %s", which, err, out)
		}
		if leaks(string(out)) {
			t.Errorf("%s: %s", which, out)
		}
		if (which == "value" || which == "error") && !strings.Contains(string(out), "[redacted]") {
			t.Errorf("%s: it does not print [redacted]: %s", which, out)
		}
	}
}

var _ error = (*secrets.MissingError)(nil)

func ExampleResolver_Check() {
	region := "eu"
	r := secrets.NewResolver([]secrets.Variable{
		{Name: "api_key", Required: true, Secret: true},
		{Name: "region", Default: &region},
		{Name: "sender", Required: true},
	}, secrets.Env(secrets.EnvPrefix, secrets.SpinEnvPrefix))
	err := r.Check(context.Background())
	var missing *secrets.MissingError
	fmt.Println(errors.As(err, &missing))
	fmt.Println(err)
	// Output:
	// true
	// no value for required variables api_key, sender
	//   give it with --variable api_key=value or TENLOOM_VARIABLE_API_KEY
	//   give it with --variable sender=value or TENLOOM_VARIABLE_SENDER
}

func ExampleValue() {
	password := secrets.NewValue("hunter2")
	fmt.Printf("%v %q %+v\n", password, password, struct{ Password secrets.Value }{password})
	fmt.Println(len(password.Reveal()))
	// Output:
	// [redacted] [redacted] {Password:[redacted]}
	// 7
}
