package tenants

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"
)

// Platform is the chain and the place of what concerns no single tenant. It is no DNS label, so no tenant has this name.
const Platform ID = "-"

// AuditEntry is one change, or one look at what belongs to another, as it stands in the audit log. Each tenant has a chain of its own, and
// the Platform one: an entry holds the hash of the entry before it, so that none can be changed, left out or put in unseen.
type AuditEntry struct {
	Chain    ID                `json:"chain"`
	Seq      uint64            `json:"seq"` // 1, 2, 3, ...
	At       time.Time         `json:"at"`  // UTC, to the millisecond
	Actor    string            `json:"actor"`
	Action   Action            `json:"action"`
	App      AppName           `json:"app,omitempty"`
	Target   string            `json:"target,omitempty"` // id or name of what was acted on
	Request  RequestID         `json:"request_id,omitempty"`
	Outcome  string            `json:"outcome"`           // "ok", or the code of the problem that the request ended with
	Detail   map[string]string `json:"detail,omitempty"`  // names and numbers, never secret values; at most 8 KiB together
	Previous string            `json:"previous,omitzero"` // Hash of the entry before; "" for the first
	Hash     string            `json:"hash"`              // SHA-256 of the canonical form, 64 digits of hex
}

// ErrAuditBroken is that a chain of audit entries has been tampered with or damaged.
var ErrAuditBroken = errors.New("audit chain is broken")

// Check reports all faults as Faults.
func (e AuditEntry) Check() error {
	var c checker
	if e.Chain != Platform {
		c.name("/chain", string(e.Chain))
	}
	subject(&c, "/actor", e.Actor)
	if _, ok := rules[e.Action]; !ok {
		c.add("/action", "invalid", "%.40q is no action", string(e.Action))
	}
	c.text("/target", e.Target, 500)
	c.text("/app", string(e.App), 63)
	c.text("/request_id", string(e.Request), 100)
	c.required("/outcome", e.Outcome, 100)
	total := 0
	for k, v := range e.Detail {
		total += len(k) + len(v)
	}
	c.count("/detail", total, 8<<10, "bytes")
	return c.err()
}

// Seal gives the entry its place after the one before, and its hash. The time is rounded to what the canonical form keeps.
func (e *AuditEntry) Seal(seq uint64, previous string) {
	e.Seq, e.Previous = seq, previous
	e.At = e.At.UTC().Truncate(time.Millisecond)
	detail := make(map[string]string, len(e.Detail))
	for k, v := range e.Detail {
		detail[strings.ToValidUTF8(k, "?")] = strings.ToValidUTF8(v, "?") // what is no UTF-8 would read back as something else
	}
	e.Detail = detail
	e.Hash = e.digest()
}

// canonical is the form that is hashed: JSON (RFC 8259) without the hash, keys in the order of the struct, keys of detail sorted, no white
// space, no HTML escapes, ended by a newline.
func (e AuditEntry) canonical() []byte {
	e.Hash = ""
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.Encode(e) // strings, numbers and a time that Seal or a decoder made: nothing that cannot be encoded
	return b.Bytes()
}

func (e AuditEntry) digest() string {
	return fmt.Sprintf("%x", sha256.Sum256(e.canonical()))
}

// AuditHead is where a chain ends. Who keeps it apart from the entries can tell later that none was cut off.
type AuditHead struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"`
}

// VerifyAudit reads the entries of one chain in order and returns its head. An entry that was changed, left out, moved, or comes from another
// chain is an error that wraps ErrAuditBroken and names the entry. The first entry of all has number 1 and nothing before it; to verify an
// extract, give the head before it as from.
func VerifyAudit(entries iter.Seq2[AuditEntry, error], from AuditHead) (AuditHead, error) {
	head := from
	var chain ID
	for e, err := range entries {
		if err != nil {
			return head, fmt.Errorf("read audit entry %d: %w", head.Seq+1, err)
		}
		if chain == "" {
			chain = e.Chain
		}
		switch {
		case e.Chain != chain:
			return head, fmt.Errorf("%w: entry %d belongs to chain %q, not %q", ErrAuditBroken, e.Seq, e.Chain, chain)
		case e.Seq != head.Seq+1:
			return head, fmt.Errorf("%w: entry %d follows entry %d", ErrAuditBroken, e.Seq, head.Seq)
		case e.Previous != head.Hash:
			return head, fmt.Errorf("%w: entry %d does not continue entry %d", ErrAuditBroken, e.Seq, head.Seq)
		case e.Hash != e.digest():
			return head, fmt.Errorf("%w: entry %d was changed after it was written", ErrAuditBroken, e.Seq)
		}
		head = AuditHead{e.Seq, e.Hash}
	}
	return head, nil
}
