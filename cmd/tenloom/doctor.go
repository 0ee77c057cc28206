package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/tenants"
)

// finding is one thing that the doctor looked at.
type finding struct {
	Check  string `json:"check"`
	Status status `json:"status"`
	Found  string `json:"found"`
	Next   string `json:"next,omitempty"` // what to do where it is not ok
}

type status string

const (
	statusOK   status = "ok"
	statusNote status = "note" // works, but slower or less of it
	statusFail status = "fail" // does not work
)

type doctorFlags struct {
	state  string
	redis  redisFlags
	config string // of the server, for its Vault
	role   vaultRole
}

func doctorCommand(g *globals) *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Tell what this machine gives: compiler, resets, limits, state directory, Redis",
		Long: `Look at what tenloom needs of this machine and tell what is there: how guests are compiled and made clean, the limits that bound how many of
them there are, the state directory, with --redis URL the Redis server, and with --config FILE the Vault that a server's configuration names.

With --vault-role TENANT it prints what Vault and its policies need for a tenant's credentials of Redis, and looks at nothing but, with --triggers, what
the tenant's triggers subscribe to now.

Ends with 1 where something that is needed is missing; the line says what to do.`,
		Example: "  tenloom doctor\n  tenloom doctor --redis redis://localhost:6379 --json",
		Args:    wantArgs(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := g.screen(cmd)
			if err != nil {
				return err
			}
			if f.role.tenant != "" {
				return f.role.print(cmd.Context(), g, cmd, out)
			}
			all, err := examine(cmd.Context(), f)
			if err != nil {
				return err
			}
			return printFindings(out, all)
		},
	}
	cmd.Flags().StringVar(&f.state, "state", ".tenloom", "directory for what outlives a run")
	f.redis.add(cmd, "Redis to look at")
	cmd.Flags().StringVarP(&f.config, "config", "c", os.Getenv("TENLOOM_CONFIG"), "a server's "+configUsage+", for its Vault")
	f.role.add(cmd)
	g.serverFlags(cmd)
	return cmd
}

// examine looks at everything, the machine first.
func examine(ctx context.Context, f doctorFlags) ([]finding, error) {
	redis, err := f.redis.options()
	if err != nil {
		return nil, err
	}
	all := []finding{systemFinding(), guestsFinding()}
	all = append(all, resetFindings(sandbox.ResetTrials())...)
	all = append(all, limitFindings()...)
	all = append(all, stateFindings(f.state)...)
	if redis != nil {
		all = append(all, redisFindings(ctx, redis)...)
	}
	if f.config != "" {
		more, err := vaultFindings(ctx, f.config)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

func systemFinding() finding {
	return finding{Check: "system", Status: statusOK, Found: fmt.Sprintf("%s/%s, %s, %s, %s", runtime.GOOS, runtime.GOARCH, kernel(), count(runtime.NumCPU(), "processor"), runtime.Version())}
}

func guestsFinding() finding {
	if sandbox.Compiles() {
		return finding{Check: "guests", Status: statusOK, Found: "compiled to machine code"}
	}
	return finding{"guests", statusNote, "interpreted, about ten times slower: there is no compiler for this processor or system", "use linux, darwin, windows or freebsd on amd64 or arm64"}
}

// resetFindings name the method in use and each other with why it is not.
func resetFindings(trials []sandbox.ResetTrial) []finding {
	all := []finding{{}}
	for _, t := range trials {
		f := finding{"reset " + string(t.Method), statusOK, "works", ""}
		switch {
		case t.Err != nil:
			f.Status, f.Found = statusNote, "does not work here: "+t.Err.Error()
		case all[0].Check == "":
			all[0] = finding{"reset", statusOK, "instances are made clean by " + string(t.Method), ""}
			f.Found = "in use"
		}
		all = append(all, f)
	}
	if all[0].Found == "instances are made clean by "+string(sandbox.ResetByCopy) {
		all[0].Status, all[0].Next = statusNote, "the whole memory is copied after each message; a Linux of 6.7 or later with /proc mounted does without"
	}
	return all
}

// stateFindings look at the directory and its cache of machine code, and write nothing that stays.
func stateFindings(dir string) []finding {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := writable(filepath.Dir(filepath.Clean(dir))); err != nil {
			return []finding{{"state", statusFail, fmt.Sprintf("%s cannot be made: %v", dir, err), "name another place with --state DIR"}}
		}
		return []finding{{"state", statusOK, dir + " will be made", ""}}
	}
	switch {
	case err != nil:
		return []finding{{"state", statusFail, err.Error(), "name another place with --state DIR"}}
	case !info.IsDir():
		return []finding{{"state", statusFail, dir + " is not a directory", "move it away, or name another place with --state DIR"}}
	}
	if err := writable(dir); err != nil {
		return []finding{{"state", statusFail, fmt.Sprintf("%s cannot be written: %v", dir, err), "chown or chmod it, or name another place with --state DIR"}}
	}
	return []finding{{"state", statusOK, fmt.Sprintf("%s, mode %#o", dir, info.Mode().Perm()), ""}, cacheFinding(filepath.Join(dir, "cache"))}
}

func cacheFinding(dir string) finding {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return finding{"cache", statusOK, dir + " will be made", ""}
	}
	if err != nil {
		return finding{"cache", statusFail, err.Error(), "remove it: it may be emptied at any time"}
	}
	if info.Mode().Perm()&0o022 != 0 {
		return finding{"cache", statusFail, fmt.Sprintf("others may write %s (mode %#o), and what it holds is run as machine code", dir, info.Mode().Perm()), "chmod 700 " + dir}
	}
	files, bytes := 0, int64(0)
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went meanwhile
		}
		if err != nil {
			return err
		}
		files++
		bytes += info.Size()
		return nil
	})
	if err != nil {
		return finding{"cache", statusFail, err.Error(), "chown it, or remove it: it may be emptied at any time"}
	}
	return finding{"cache", statusOK, fmt.Sprintf("%s, mode %#o, %s, %s", dir, info.Mode().Perm(), count(files, "file"), size(bytes)), ""}
}

// writable makes a file in the directory and removes it.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// printFindings prints all, and ends with 1 where one fails.
func printFindings(out screen, all []finding) error {
	failed := 0
	rows := [][]string{}
	for _, f := range all {
		colour := green
		switch f.Status {
		case statusFail:
			colour = red
			failed++
		case statusNote:
			colour = ""
		}
		cell := string(f.Status)
		if colour != "" {
			cell = out.paint(colour, cell)
		}
		rows = append(rows, []string{cell, f.Check, plain(f.Found)})
		if f.Next != "" {
			rows = append(rows, []string{"", "", plain(f.Next)})
		}
	}
	if err := printDoctor(out, all, rows); err != nil {
		return err
	}
	if failed > 0 {
		return fail(exitFailed, "%s of %d failed", count(failed, "check"), len(all))
	}
	return nil
}

func printDoctor(out screen, all []finding, rows [][]string) error {
	if !out.isJSON() {
		return out.rows("", rows)
	}
	doc, err := json.Marshal(map[string]any{"checks": all})
	if err != nil {
		return err
	}
	return out.json(doc)
}

// instanceMemory is the address space that an instance reserves where nothing else is said.
const instanceMemory = uint64(tenants.DefaultMemory)
