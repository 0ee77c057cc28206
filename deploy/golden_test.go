//go:build unix

package deploy_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/tenants"
)

var update = flag.Bool("update", false, "write what Deploy gives into the golden files")

const divider = "\n---\n"

// TestDeploy runs testdata/*.golden: what is in the folder and in the system beside the manifest, a line of dashes, the manifest, a line of
// dashes, and the version that was applied or why none was. A version that is refused reaches no server before its last stage, and is never
// applied.
func TestDeploy(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.golden")
	if err != nil || len(paths) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".golden"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			parts := strings.SplitN(string(text), divider, 3)
			if len(parts) < 2 {
				t.Fatal("no line of dashes before the manifest")
			}
			r, dir := newRunning(t), t.TempDir()
			for line := range strings.Lines(parts[0]) {
				r.prepare(t, dir, strings.TrimSuffix(line, "\n"))
			}
			m := load(t, dir, parts[1]+"\n")
			v, err := deploy.Deploy(t.Context(), tenant, m, r.system(m))
			got := strings.ReplaceAll(r.outcome(v, err), dir, "DIR")
			if err != nil && len(r.applied) > 0 {
				t.Errorf("refused, and applied %d times", len(r.applied))
			}
			if *update {
				write(t, "testdata", filepath.Base(path), []byte(parts[0]+divider+parts[1]+divider+got))
			} else if len(parts) < 3 || got != parts[2] {
				t.Errorf("got:\n%s\nwant:\n%s", got, strings.Join(parts[2:], ""))
			}
		})
	}
}

// prepare does what a line of a golden file says: a file of the folder, a variable's value, or what the policy allows.
func (r *running) prepare(t *testing.T, dir, line string) {
	words := strings.Fields(line)
	if len(words) < 3 {
		t.Fatalf("%q is not NAME KIND ARGUMENT", line)
	}
	name, argument := words[0], strings.Join(words[2:], " ")
	number := func() int64 {
		n, err := strconv.ParseInt(argument, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	path := filepath.Join(dir, name)
	var err error
	switch words[1] {
	case "guest":
		write(t, dir, name, guest(t, argument))
	case "text":
		write(t, dir, name, []byte(argument))
	case "sparse": // takes no room on the disk
		write(t, dir, name, nil)
		err = os.Truncate(path, number())
	case "link":
		err = os.Symlink(argument, path)
	case "fifo":
		err = syscall.Mkfifo(path, 0o600)
	case "=":
		r.values[name] = strings.Trim(argument, `"`)
	case "<=":
		err = r.allow(name, argument)
	case "lacks": // sharded channels
		r.lacks = tenants.EndpointID(name)
	default:
		t.Fatalf("%q: no such kind", line)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (r *running) allow(name, argument string) (err error) {
	switch m := &r.policy.Max; name {
	case "fresh_only":
		r.policy.FreshOnly, err = strconv.ParseBool(argument)
	case "spill_bytes":
		r.policy.SpillBytes, err = strconv.ParseInt(argument, 10, 64)
	case "concurrency":
		m.Concurrency, err = strconv.Atoi(argument)
	case "timeout":
		m.Timeout, err = time.ParseDuration(argument)
	case "memory":
		m.Memory, err = strconv.ParseUint(argument, 10, 64)
	case "fuel":
		m.Fuel, err = strconv.ParseUint(argument, 10, 64)
	case "host_calls":
		m.HostCalls, err = strconv.Atoi(argument)
	case "bytes_out":
		m.BytesOut, err = strconv.ParseUint(argument, 10, 64)
	case "bytes_in":
		m.BytesIn, err = strconv.ParseUint(argument, 10, 64)
	case "handles":
		m.Handles, err = strconv.Atoi(argument)
	case "output":
		m.Output, err = strconv.ParseUint(argument, 10, 64)
	case "log_rate":
		m.LogRate, err = strconv.Atoi(argument)
	case "max_wait":
		m.MaxWait, err = time.ParseDuration(argument)
	default:
		err = fmt.Errorf("no limit %q", name)
	}
	return err
}

// outcome writes what Deploy did, a thing on a line.
func (r *running) outcome(v *deploy.Version, err error) string {
	var out strings.Builder
	if err != nil {
		fmt.Fprintln(&out, err)
		if len(r.opened) > 0 {
			fmt.Fprintf(&out, "(servers asked for: %q)\n", r.opened)
		}
		return out.String()
	}
	for _, u := range v.Units {
		hosts := "its list"
		if !u.Component.HostsGiven {
			hosts = "version 1's default"
		}
		fmt.Fprintf(&out, "component %s: %d bytes, %s, %s, hosts: %s\n", u.Component.ID, len(u.Wasm), limits(u.Limits), u.Isolation, hosts)
	}
	for _, t := range v.Triggers {
		fmt.Fprintf(&out, "trigger %s: %s %q on %s -> %s, %s\n", t.ID, t.Target.Kind, t.Target.Name, t.Endpoint, t.Component, limits(t.Limits))
	}
	for _, n := range v.Notes() {
		fmt.Fprintln(&out, "note", n)
	}
	return out.String()
}

func limits(l tenants.Limits) string {
	text := fmt.Sprintf("%d at once, %v, %d MiB, %v, waits %v", l.Concurrency, l.Timeout, l.Memory>>20, l.Overflow, l.MaxWait)
	if l.OrderBy != "" {
		text += ", by " + l.OrderBy
	}
	if l.Fuel > 0 {
		text += fmt.Sprintf(", fuel %d", l.Fuel)
	}
	return text
}
