package telemetry_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tenloom/tenloom/telemetry"
	"github.com/tenloom/tenloom/tenants"
)

func ledger(t *testing.T, dir string, r *telemetry.Recorder) *telemetry.Ledger {
	t.Helper()
	l, err := telemetry.OpenLedger(telemetry.LedgerConfig{Recorder: r, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func handle(r *telemetry.Recorder, tenant tenants.ID, app tenants.AppName, n int) {
	for range n {
		r.Account(tenant).Record(&telemetry.Record{Trigger: &tenants.Trigger{Tenant: tenant, App: app}, Invocation: tenants.InvocationID{1}, Fuel: 7, Bytes: 3, Ran: time.Millisecond})
	}
}

func usage(t *testing.T, l *telemetry.Ledger, tenant tenants.ID) (invocations int64, rows []telemetry.Usage) {
	t.Helper()
	rows, err := l.Usage(tenant, "2000-01-01", "2999-12-31")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if r.Fuel != 7*uint64(r.Invocations) || r.Bytes != 3*r.Invocations || r.Outcomes[tenants.Handled] != r.Invocations {
			t.Errorf("does not add up: %+v", r)
		}
		invocations += r.Invocations
	}
	return invocations, rows
}

// TestLedgerOverRestarts: each process counts from zero, the days go on.
func TestLedgerOverRestarts(t *testing.T) {
	dir := t.TempDir()
	for run := range 3 {
		r := telemetry.New(1)
		l := ledger(t, dir, r)
		handle(r, "a", "shop", 4)
		if n, _ := usage(t, l, "a"); n != int64(5*run+4) {
			t.Errorf("run %d: %d invocations", run, n)
		}
		if n, _ := usage(t, l, "b"); n != 0 {
			t.Errorf("of nobody: %d", n)
		}
		if err := l.Flush(); err != nil {
			t.Fatal(err)
		}
		handle(r, "a", "shop", 1) // Close writes it
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLedgerHasOneProcess: a second one would take the first one's lines for older ones of its own.
func TestLedgerHasOneProcess(t *testing.T) {
	dir := t.TempDir()
	l := ledger(t, dir, telemetry.New(1))
	if _, err := telemetry.OpenLedger(telemetry.LedgerConfig{Recorder: telemetry.New(1), Dir: dir}); !errors.Is(err, telemetry.ErrInUse) {
		t.Errorf("%v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ledger(t, dir, telemetry.New(1)).Close()
}

// TestLedgerDays: midnight parts the days, and files of days that are too old are removed.
func TestLedgerDays(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := telemetry.New(1)
		l, err := telemetry.OpenLedger(telemetry.LedgerConfig{Recorder: r, Dir: dir, Days: 2})
		if err != nil {
			t.Fatal(err)
		}
		first := telemetry.DayOf(time.Now())
		ended := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { l.Run(ctx); close(ended) }()
		for day := range 4 {
			handle(r, "a", "shop", day+1)
			next := time.Until(time.Now().UTC().Truncate(24 * time.Hour).Add(24 * time.Hour))
			time.Sleep(next + time.Second) // of the bubble's clock
		}
		_, rows := usage(t, l, "a")
		var have []string
		for _, u := range rows {
			have = append(have, fmt.Sprintf("%s=%d", u.Day, u.Invocations))
		}
		if got, want := fmt.Sprint(have), fmt.Sprintf("[%s=4]", first.Add(3)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		cancel()
		<-ended
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestLedgerIsBounded: applications beyond the bound are summed up, and nothing is lost.
func TestLedgerIsBounded(t *testing.T) {
	dir, r := t.TempDir(), telemetry.New(1)
	l := ledger(t, dir, r)
	for n := range telemetry.MaxUsageApps + 50 {
		handle(r, "a", tenants.AppName(fmt.Sprint("app", n)), 2)
	}
	n, rows := usage(t, l, "a")
	if n != 2*(telemetry.MaxUsageApps+50) || len(rows) != telemetry.MaxUsageApps+1 {
		t.Errorf("%d invocations of %d apps", n, len(rows))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLedgerFileStaysSmall: lines that others have taken the place of go.
func TestLedgerFileStaysSmall(t *testing.T) {
	dir, r := t.TempDir(), telemetry.New(1)
	l := ledger(t, dir, r)
	const rounds = 150 // more than 2 MiB of lines
	for range rounds {
		handle(r, "b", "shop", 1)
		for n := range telemetry.MaxUsageApps {
			handle(r, "a", tenants.AppName(fmt.Sprint("app", n)), 1)
		}
		if err := l.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v %v", files, err)
	}
	if info, err := os.Stat(files[0]); err != nil || info.Size() > 3<<20/2 {
		t.Errorf("%v %v", info.Size(), err)
	}
	if n, _ := usage(t, l, "b"); n != rounds {
		t.Errorf("%d", n)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLedgerTornLines: a file that was cut anywhere gives what was whole.
func TestLedgerTornLines(t *testing.T) {
	dir, r := t.TempDir(), telemetry.New(1)
	l := ledger(t, dir, r)
	for range 3 {
		handle(r, "a", "shop", 1)
		if err := l.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for cut := range len(text) {
		if err := os.WriteFile(files[0], text[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		whole := int64(bytes.Count(text[:cut], []byte{'\n'}))
		if bytes.HasPrefix(text[cut:], []byte{'\n'}) { // all of it but its end
			whole++
		}
		l := ledger(t, dir, telemetry.New(1))
		if n, _ := usage(t, l, "a"); n != whole {
			t.Fatalf("cut at %d of %d: %d invocations, want %d", cut, len(text), n, whole)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLedgerKilled has a process of its own count and write, and ends it with SIGKILL wherever it is, again and again. What it said it had
// written is there afterwards, and nothing that it had not counted.
func TestLedgerKilled(t *testing.T) {
	dir := os.Getenv("TENLOOM_TEST_LEDGER")
	if dir != "" {
		countForEver(t, dir)
	}
	dir = t.TempDir()
	var least, most int64
	for round := range 15 {
		child := exec.Command(os.Args[0], "-test.run=^TestLedgerKilled$")
		child.Env = append(os.Environ(), "TENLOOM_TEST_LEDGER="+dir)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		written, counted := int64(0), int64(0)
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			kind, number, _ := bytes.Cut(lines.Bytes(), []byte{' '})
			value, err := strconv.ParseInt(string(number), 10, 64)
			if err != nil {
				t.Fatalf("the process says %q", lines.Text())
			}
			if string(kind) == "counted" {
				counted = value
			} else {
				written = value
			}
			if n == 2+37*round {
				child.Process.Kill() // the rest of what it said is still read
			}
		}
		child.Wait() // killed
		least += written
		most += counted
		l := ledger(t, dir, telemetry.New(1))
		n, _ := usage(t, l, "a")
		if n < least || n > most {
			t.Fatalf("round %d: %d invocations, want %d to %d", round, n, least, most)
		}
		least, most = n, n
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// countForEver says what it has counted before it writes, and what it has written after that.
func countForEver(t *testing.T, dir string) {
	r := telemetry.New(1)
	l := ledger(t, dir, r)
	for n := int64(1); ; n++ {
		handle(r, "a", "shop", 1)
		fmt.Println("counted", n)
		if err := l.Flush(); err != nil {
			t.Fatal(err)
		}
		fmt.Println("written", n)
	}
}
