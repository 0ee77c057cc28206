package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
	"github.com/tenloom/tenloom/tenants/store/kv"
)

func filled(t *testing.T, open Open) (*store.Store, []byte) {
	s, _ := fresh(t, open)
	for i := range 10 {
		a := app(tenants.AppName(fmt.Sprintf("app-%d", i)))
		create(t, s, a)
		do(t, s, func(tx *store.Tx) error {
			v := version(a.Name, i)
			v.Message = "<&> é \u2028"
			_, _, err := tx.CreateVersion(t.Context(), v)
			return errors.Join(err, tx.Audit(t.Context(), entry(tenants.CreateApp)))
		})
	}
	var b bytes.Buffer
	sum, err := s.Backup(t.Context(), &b)
	if err != nil || sum.Records < 40 || sum.Revision == 0 {
		t.Fatalf("%+v, %v", sum, err)
	}
	return s, b.Bytes()
}

func contents(t *testing.T, s *store.Store) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := s.Backup(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	_, records, _ := strings.Cut(b.String(), "\n") // without the header, which has the time
	return records[:strings.LastIndex(strings.TrimSpace(records), "\n")]
}

func testBackup(t *testing.T, open Open) {
	s, backup := filled(t, open)
	have, err := s.App(t.Context(), acme, "app-3")
	if err != nil {
		t.Fatal(err)
	}
	k := open(t)
	if _, err := store.Open(t.Context(), k); err != nil { // as one that was started once and never used
		t.Fatal(err)
	}
	sum, err := store.Restore(t.Context(), k, bytes.NewReader(backup))
	if err != nil || sum.Records < 40 {
		t.Fatalf("%+v, %v", sum, err)
	}
	restored, err := store.Open(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	if contents(t, s) != contents(t, restored) {
		t.Error("what was restored is not what was backed up")
	}
	if head, err := restored.VerifyAudit(t.Context(), acme); err != nil || head.Seq != 10 {
		t.Errorf("%+v, %v", head, err)
	}
	if err := restored.Match(s.ETag(have.Revision), have.Revision); !errors.Is(err, store.ErrMismatch) {
		t.Errorf("an ETag from before the restore: %v", err)
	}
	create(t, restored, app("more"))
	if _, err := store.Restore(t.Context(), k, bytes.NewReader(backup)); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("into a store that is not empty: %v", err)
	}
}

// Every kind of damage is found before anything is written.
func testBackupDamaged(t *testing.T, open Open) {
	_, good := filled(t, open)
	k := open(t)
	lines := bytes.SplitAfter(good, []byte("\n"))
	join := func(l ...[]byte) []byte { return bytes.Join(l, nil) }
	damaged := map[string][]byte{
		"empty":           nil,
		"something else":  []byte("hello\n"),
		"cut in the line": good[:len(good)/2],
		"without end":     join(lines[:len(lines)-2]...),
		"line left out":   join(join(lines[:5]...), join(lines[6:]...)),
		"line twice":      join(join(lines[:5]...), join(lines[4:]...)),
		"more behind":     append(bytes.Clone(good), "x"...),
	}
	for i := 0; i < len(good)-1; i += 1 + len(good)/200 {
		flipped := bytes.Clone(good)
		flipped[i] ^= 1
		damaged[fmt.Sprintf("bit of byte %d", i)] = flipped
	}
	for name, b := range damaged {
		if _, err := store.Restore(t.Context(), k, bytes.NewReader(b)); !errors.Is(err, store.ErrBackupDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	newer := bytes.Replace(good, []byte(`"schema":1`), []byte(`"schema":9`), 1)
	if _, err := store.Restore(t.Context(), k, bytes.NewReader(newer)); !errors.Is(err, store.ErrNewer) {
		t.Errorf("newer: %v", err)
	}
	if left, err := k.List(t.Context(), kv.Range{}); err != nil || len(left) != 0 {
		t.Errorf("a refused restore wrote %v, %v", left, err)
	}
}

func testOpenRefuses(t *testing.T, open Open) {
	for name, row := range map[string]struct {
		key, value string
		want       error
	}{
		"newer":     {"m/schema", `{"schema":9,"name":"x"}`, store.ErrNewer},
		"damaged":   {"m/schema", `{`, kv.ErrDamaged},
		"restoring": {"m/restoring", `{}`, store.ErrRestoring},
		"foreign":   {"somebody/else", `{}`, nil},
	} {
		k := open(t)
		if _, err := k.Commit(t.Context(), nil, []kv.Write{{Key: row.key, Value: []byte(row.value)}}); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Open(t.Context(), k); err == nil || row.want != nil && !errors.Is(err, row.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A process that was left running while a newer one migrated the store cannot write any more.
	s, k := fresh(t, open)
	if _, err := k.Commit(t.Context(), nil, []kv.Write{{Key: "m/schema", Value: []byte(`{"schema":2,"name":"x"}`)}}); err != nil {
		t.Fatal(err)
	}
	fails(t, s, store.ErrNewer, func(tx *store.Tx) error { return tx.CreateApp(t.Context(), app("mailer")) })
}
