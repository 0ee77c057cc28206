package sandbox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"github.com/tetratelabs/wazero"
)

// compileArgument is the only argument of a process that compiles.
const compileArgument = "sandbox-compile"

// CompileCommand is the command line for Config.CompileApart: this program again, which calls CompileMain.
func CompileCommand() ([]string, error) {
	self, err := thisProgram()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return []string{self, compileArgument}, nil
}

// CompileMain compiles one module and ends the process where it was started by CompileCommand's line; otherwise it does nothing. A program
// that sets Config.CompileApart calls it first thing in main, before it reads flags, files or the environment.
func CompileMain() {
	if len(os.Args) != 2 || os.Args[1] != compileArgument {
		return
	}
	a := answer{Done: true}
	var refused *CompileError
	switch err := fulfil(bufio.NewReader(os.Stdin)); {
	case errors.As(err, &refused):
		a = answer{Refused: refused}
	case err != nil:
		a = answer{Failed: err.Error()}
	}
	if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// fulfil reads an order, takes on its limits, and compiles.
func fulfil(in *bufio.Reader) error {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	var o order
	if err := json.Unmarshal(line, &o); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	if err := confine(o); err != nil {
		return fmt.Errorf("set limits: %w", err)
	}
	debug.SetMemoryLimit(o.Memory / 4 * 3) // collect before the limit ends the process
	runtime.GOMAXPROCS(min(runtime.GOMAXPROCS(0), compileWorkers))
	wasm := make([]byte, o.Size)
	if _, err := io.ReadFull(in, wasm); err != nil {
		return fmt.Errorf("read module: %w", err)
	}
	ctx := context.Background() // the parent ends the process, not the context
	c := &codeCache{dir: o.Dir, code: o.Code, cpu: o.CPU, bound: bound{most: DefaultCacheBytes}}
	if err := os.MkdirAll(filepath.Join(o.Dir, programsDir), 0o700); err != nil {
		return err
	}
	if c.engine, err = wazero.NewCompilationCacheWithDir(o.Dir); err != nil {
		return err
	}
	m, err := compileModule(ctx, newWazero(ctx, c.engine, slog.New(slog.DiscardHandler)), o.Time, wasm)
	if err != nil {
		return err
	}
	return c.add(o.Key, m)
}
