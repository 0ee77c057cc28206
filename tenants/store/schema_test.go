package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenloom/tenloom/tenants/store/kv"
	"github.com/tenloom/tenloom/tenants/store/kv/bolt"
)

// Records of schema 1 are brought to 3 by two steps, the second cut short in the middle and taken up at the next open.
func TestMigrationsGoOn(t *testing.T) {
	ctx := context.Background()
	k, err := bolt.Open(filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	if _, err := open(ctx, k, 1, nil); err != nil {
		t.Fatal(err)
	}
	for i := range 120 {
		value, _ := json.Marshal(envelope{1, fmt.Appendf(nil, `{"n":"%d"}`, i)})
		if _, err := k.Commit(ctx, nil, []kv.Write{{Key: fmt.Sprintf("c/x/%03d", i), Value: value}}); err != nil {
			t.Fatal(err)
		}
	}
	cut, left := errors.New("cut"), 70
	add := func(s string) migration {
		return func(key string, data json.RawMessage) (json.RawMessage, error) {
			if key == "c/x/007" && s == "b" {
				return nil, nil
			}
			if s == "b" {
				if left--; left == 0 {
					return nil, cut
				}
			}
			return json.RawMessage(strings.Replace(string(data), `"}`, s+`"}`, 1)), nil
		}
	}
	steps := []migration{add("a"), add("b")}
	if _, err := open(ctx, k, 3, steps); !errors.Is(err, cut) {
		t.Fatalf("cut short: %v", err)
	}
	if _, err := open(ctx, k, 1, nil); !errors.Is(err, ErrNewer) {
		t.Errorf("the older program: %v", err)
	}
	s, err := open(ctx, k, 3, steps)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 120 {
		r, err := s.kv.Get(ctx, fmt.Sprintf("c/x/%03d", i))
		if i == 7 {
			if !errors.Is(err, kv.ErrNotFound) {
				t.Errorf("a record that a migration drops: %v", err)
			}
			continue
		}
		var e envelope
		if err := errors.Join(err, json.Unmarshal(r.Value, &e)); err != nil || e.Schema != 3 || string(e.Data) != fmt.Sprintf(`{"n":"%dab"}`, i) {
			t.Fatalf("%d: %s, %v", i, r.Value, err)
		}
	}
}
