package wasi

import (
	"io"

	"github.com/tenloom/tenloom/sandbox/canon"
	"github.com/tenloom/tenloom/sandbox/canon/host"
)

// cliInterfaces are wasi:cli without run, which a component exports.
func cliInterfaces() []host.Interface {
	none := func(_ *canon.Call, _ *canon.Reader, out *canon.Writer) { out.None() }
	return []host.Interface{
		{Name: "wasi:cli/environment" + version, Funcs: map[string]host.Func{
			"get-environment": {Type: "func() -> list<tuple<string, string>>", Call: getEnvironment},
			"get-arguments":   {Type: "func() -> list<string>", Call: getArguments},
			"initial-cwd":     {Type: "func() -> option<string>", Call: none},
		}},
		{Name: "wasi:cli/exit" + version, Funcs: map[string]host.Func{
			"exit":           {Type: "func(status: result)", Call: exit},
			"exit-with-code": {Type: "func(status-code: u8)", Call: exitWithCode},
		}},
		{Name: "wasi:cli/stdin" + version, Resources: drops("input-stream"), Funcs: map[string]host.Func{
			"get-stdin": {Type: "func() -> own<input-stream>", Call: func(_ *canon.Call, _ *canon.Reader, out *canon.Writer) { out.Own(input(emptyInput{})) }},
		}},
		{Name: "wasi:cli/stdout" + version, Resources: drops("output-stream"), Funcs: map[string]host.Func{
			"get-stdout": {Type: "func() -> own<output-stream>", Call: func(c *canon.Call, _ *canon.Reader, out *canon.Writer) { out.Own(printerTo(system(c).Stdout)) }},
		}},
		{Name: "wasi:cli/stderr" + version, Resources: drops("output-stream"), Funcs: map[string]host.Func{
			"get-stderr": {Type: "func() -> own<output-stream>", Call: func(c *canon.Call, _ *canon.Reader, out *canon.Writer) { out.Own(printerTo(system(c).Stderr)) }},
		}},
		{Name: "wasi:cli/terminal-input" + version, Resources: drops("terminal-input")},
		{Name: "wasi:cli/terminal-output" + version, Resources: drops("terminal-output")},
		{Name: "wasi:cli/terminal-stdin" + version, Resources: drops("terminal-input"), Funcs: map[string]host.Func{
			"get-terminal-stdin": {Type: "func() -> option<own<terminal-input>>", Call: none},
		}},
		{Name: "wasi:cli/terminal-stdout" + version, Resources: drops("terminal-output"), Funcs: map[string]host.Func{
			"get-terminal-stdout": {Type: "func() -> option<own<terminal-output>>", Call: none},
		}},
		{Name: "wasi:cli/terminal-stderr" + version, Resources: drops("terminal-output"), Funcs: map[string]host.Func{
			"get-terminal-stderr": {Type: "func() -> option<own<terminal-output>>", Call: none},
		}},
	}
}

func getEnvironment(c *canon.Call, _ *canon.Reader, out *canon.Writer) {
	env := system(c).Env
	out.List(len(env))
	for _, v := range env {
		out.String(v[0])
		out.String(v[1])
	}
}

func getArguments(c *canon.Call, _ *canon.Reader, out *canon.Writer) {
	args := system(c).Args
	out.List(len(args))
	for _, a := range args {
		out.String(a)
	}
}

func exit(_ *canon.Call, in *canon.Reader, _ *canon.Writer) {
	if in.Result() {
		panic(&Exit{0})
	}
	panic(&Exit{1})
}

func exitWithCode(_ *canon.Call, in *canon.Reader, _ *canon.Writer) { panic(&Exit{uint32(in.U8())}) }

// emptyInput is a standard input at its end.
type emptyInput struct{}

func (emptyInput) ready() bool              { return true }
func (emptyInput) read(int) ([]byte, error) { return nil, io.EOF }

// printer is an output that takes everything at once.
type printer struct{ to io.Writer }

func printerTo(w io.Writer) output {
	if w == nil {
		w = io.Discard
	}
	return printer{w}
}

// printable is how much a guest may write at once to a standard stream, in bytes.
const printable = 1 << 20

func (p printer) ready() bool        { return true }
func (p printer) room() (int, error) { return printable, nil }
func (p printer) flushed() bool      { return true }

func (p printer) write(b []byte) error {
	_, err := p.to.Write(b)
	return err
}
