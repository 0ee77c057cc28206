package bolt_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/tenloom/tenloom/tenants/store/kv"
	"github.com/tenloom/tenloom/tenants/store/kv/bolt"
)

// The test binary is its own child: one that writes until it is killed, or until the disk is full.
func TestMain(m *testing.M) {
	if path := os.Getenv("TENLOOM_TEST_WRITER"); path != "" {
		writer(path, os.Getenv("TENLOOM_TEST_FULL") != "")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// writer makes 1,000 commits of two records that belong together and says each one on stdout once it is acknowledged.
func writer(path string, full bool) {
	s, err := bolt.Open(path)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	if full {
		limit := syscall.Rlimit{Cur: 512 << 10, Max: 512 << 10} // bytes that a file may have
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			fmt.Println("error", err)
			return
		}
	}
	for i := range 1000 {
		value := fmt.Appendf(nil, "%d %s", i, strings.Repeat("v", 500))
		_, err := s.Commit(context.Background(), nil, []kv.Write{{Key: fmt.Sprintf("a/%04d", i), Value: value}, {Key: fmt.Sprintf("b/%04d", i), Value: value}})
		if err != nil {
			fmt.Println("error", err)
			_, err := s.Get(context.Background(), "a/0000")
			fmt.Println("read", err)
			return
		}
		fmt.Println(i)
	}
}

// A writer is killed somewhere in 1,000 commits, twelve times: what it acknowledged is there, and of the rest whole commits only.
func TestKilledWriterLosesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 12 {
		path := filepath.Join(t.TempDir(), "store.db")
		cmd := child(path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill, acknowledged := r.IntN(150), -1
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if _, err := fmt.Sscan(lines.Text(), &acknowledged); err != nil {
				t.Fatal(lines.Text())
			}
			if acknowledged == kill {
				cmd.Process.Kill() // and go on reading what it said before it died
			}
		}
		cmd.Wait() // an error: it was killed
		if acknowledged < kill {
			t.Fatalf("the writer came to %d of %d", acknowledged, kill)
		}
		whole(t, path, acknowledged)
	}
}

// A full disk is said, the store can still be read, and what was acknowledged is there after it is opened with room again.
func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	cmd := child(path)
	cmd.Env = append(cmd.Env, "TENLOOM_TEST_FULL=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) < 4 {
		t.Fatalf("%q", lines)
	}
	acknowledged := len(lines) - 3
	if got := lines[len(lines)-2]; !strings.HasPrefix(got, "error "+kv.ErrFull.Error()+": make room on the disk of "+path) {
		t.Errorf("it said %q", got)
	}
	if got := lines[len(lines)-1]; got != "read <nil>" {
		t.Errorf("reading on a full disk: %q", got)
	}
	whole(t, path, acknowledged)
	s := openAt(t, path)
	if _, err := s.Commit(t.Context(), nil, []kv.Write{{Key: "more", Value: []byte("1")}}); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func child(path string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "TENLOOM_TEST_WRITER="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// whole opens what a writer left, with bbolt's own check first.
func whole(t *testing.T, path string, acknowledged int) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(tx *bbolt.Tx) error {
		var faults []error
		for err := range tx.Check() {
			faults = append(faults, err)
		}
		return errors.Join(faults...)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatalf("check: %v", err)
	}
	s := openAt(t, path)
	defer s.Close()
	for i := range 1000 {
		a, errA := s.Get(t.Context(), fmt.Sprintf("a/%04d", i))
		b, errB := s.Get(t.Context(), fmt.Sprintf("b/%04d", i))
		if (errA == nil) != (errB == nil) || errA == nil && string(a.Value) != string(b.Value) {
			t.Fatalf("commit %d is there by half", i)
		}
		if errA != nil && i <= acknowledged {
			t.Fatalf("commit %d of %d acknowledged ones is lost: %v", i, acknowledged, errA)
		}
	}
}
