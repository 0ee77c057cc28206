package tenants_test

import (
	"encoding/json"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

func chain(n int) []tenants.AuditEntry {
	entries := make([]tenants.AuditEntry, n)
	head := ""
	for i := range entries {
		entries[i] = tenants.AuditEntry{
			Chain: "acme", At: time.Unix(1_700_000_000, 123_456_789).Add(time.Duration(i) * time.Second), Actor: "ann@acme.io",
			Action: tenants.CreateApp, App: "mailer", Outcome: "ok", Detail: map[string]string{"b": "<&>\u2028é", "a": "bad \xff utf-8"},
		}
		entries[i].Seal(uint64(i+1), head)
		head = entries[i].Hash
	}
	return entries
}

func values(entries []tenants.AuditEntry) iter.Seq2[tenants.AuditEntry, error] {
	return func(yield func(tenants.AuditEntry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// Entries are verified as they come back from where they were written as JSON.
func TestAuditVerifies(t *testing.T) {
	entries := chain(20)
	for i := range entries {
		j, err := json.Marshal(entries[i])
		if err != nil {
			t.Fatal(err)
		}
		entries[i] = tenants.AuditEntry{}
		if err := json.Unmarshal(j, &entries[i]); err != nil {
			t.Fatal(err)
		}
		if err := entries[i].Check(); err != nil {
			t.Fatal(err)
		}
	}
	head, err := tenants.VerifyAudit(values(entries), tenants.AuditHead{})
	if err != nil || head != (tenants.AuditHead{Seq: 20, Hash: entries[19].Hash}) {
		t.Fatalf("%+v, %v", head, err)
	}
	if _, err := tenants.VerifyAudit(values(entries[7:]), tenants.AuditHead{Seq: 7, Hash: entries[6].Hash}); err != nil {
		t.Errorf("an extract: %v", err)
	}
}

func TestAuditFindsTampering(t *testing.T) {
	for name, tamper := range map[string]func(e []tenants.AuditEntry) []tenants.AuditEntry{
		"actor":     func(e []tenants.AuditEntry) []tenants.AuditEntry { e[5].Actor = "eve"; return e },
		"time":      func(e []tenants.AuditEntry) []tenants.AuditEntry { e[5].At = e[5].At.Add(time.Millisecond); return e },
		"action":    func(e []tenants.AuditEntry) []tenants.AuditEntry { e[5].Action = tenants.ReadApp; return e },
		"detail":    func(e []tenants.AuditEntry) []tenants.AuditEntry { e[5].Detail["a"] = "x"; return e },
		"hash":      func(e []tenants.AuditEntry) []tenants.AuditEntry { e[5].Hash = strings.Repeat("0", 64); return e },
		"left out":  func(e []tenants.AuditEntry) []tenants.AuditEntry { return append(e[:5], e[6:]...) },
		"beginning": func(e []tenants.AuditEntry) []tenants.AuditEntry { return e[1:] },
		"swapped":   func(e []tenants.AuditEntry) []tenants.AuditEntry { e[4], e[5] = e[5], e[4]; return e },
		"twice":     func(e []tenants.AuditEntry) []tenants.AuditEntry { return append(e[:6], e[5:]...) },
		"resealed": func(e []tenants.AuditEntry) []tenants.AuditEntry {
			e[5].Actor = "eve"
			e[5].Seal(6, e[4].Hash)
			return e
		},
		"chain": func(e []tenants.AuditEntry) []tenants.AuditEntry {
			e[5].Chain = "other"
			e[5].Seal(6, e[4].Hash)
			return e
		},
	} {
		if _, err := tenants.VerifyAudit(values(tamper(chain(10))), tenants.AuditHead{}); !errors.Is(err, tenants.ErrAuditBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
