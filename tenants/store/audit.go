package store

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store/kv"
)

// maxAuditLine is the longest line that ReadAudit reads, in bytes.
const maxAuditLine = 64 << 10

// Audit appends an entry to its chain, in the same transaction as what it tells of. One transaction can append one entry to each chain.
func (tx *Tx) Audit(ctx context.Context, e tenants.AuditEntry) error {
	if err := e.Check(); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	head, err := tx.AuditHead(ctx, e.Chain)
	if err != nil {
		return err
	}
	e.Seal(head.Seq+1, head.Hash)
	if err := tx.create(ctx, keyAudit(e.Chain, e.Seq), fmt.Sprintf("audit entry %d", e.Seq), e); err != nil {
		return err
	}
	return tx.put(keyAuditHead(e.Chain), tenants.AuditHead{Seq: e.Seq, Hash: e.Hash})
}

// AuditHead returns where a chain ends; the zero AuditHead where it has no entries.
func (r reader) AuditHead(ctx context.Context, chain tenants.ID) (tenants.AuditHead, error) {
	head, err := read[tenants.AuditHead](ctx, r.from, keyAuditHead(chain), "audit head")
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return head.Value, err
}

// Audits lists a chain's entries, the newest first.
func (r reader) Audits(ctx context.Context, chain tenants.ID, q Query) (Page[tenants.AuditEntry], error) {
	return page[tenants.AuditEntry](ctx, r.from, "l/audit/"+string(chain)+"/", q, true)
}

// AuditEntries goes through a chain from the entry behind seq on. An error ends it.
func (r reader) AuditEntries(ctx context.Context, chain tenants.ID, seq uint64) iter.Seq2[tenants.AuditEntry, error] {
	return func(yield func(tenants.AuditEntry, error) bool) {
		prefix := "l/audit/" + string(chain) + "/"
		after := keyAudit(chain, seq)
		for {
			records, err := r.from.list(ctx, kv.Range{Prefix: prefix, After: after, Limit: 200})
			if err != nil {
				yield(tenants.AuditEntry{}, fmt.Errorf("list audit: %w", err))
				return
			}
			for _, have := range records {
				e, err := decode[tenants.AuditEntry](have)
				if !yield(e.Value, err) || err != nil {
					return
				}
				after = have.Key
			}
			if len(records) == 0 {
				return
			}
		}
	}
}

// ExportAudit writes a chain as NDJSON, one entry on each line.
func (r reader) ExportAudit(ctx context.Context, w io.Writer, chain tenants.ID) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for e, err := range r.AuditEntries(ctx, chain, 0) {
		if err != nil {
			return err
		}
		if err := enc.Encode(e); err != nil {
			return fmt.Errorf("write audit: %w", err)
		}
	}
	return nil
}

// VerifyAudit verifies a whole chain and that it ends where the store says: cutting entries off at the end is found too.
func (r reader) VerifyAudit(ctx context.Context, chain tenants.ID) (tenants.AuditHead, error) {
	want, err := r.AuditHead(ctx, chain) // first: what is appended meanwhile comes after it
	if err != nil {
		return want, err
	}
	upTo := func(yield func(tenants.AuditEntry, error) bool) {
		for e, err := range r.AuditEntries(ctx, chain, 0) {
			if err == nil && e.Seq > want.Seq || !yield(e, err) {
				return
			}
		}
	}
	got, err := tenants.VerifyAudit(upTo, tenants.AuditHead{})
	if err != nil {
		return got, err
	}
	if got != want {
		return got, fmt.Errorf("%w: it ends with entry %d, the store counted %d", tenants.ErrAuditBroken, got.Seq, want.Seq)
	}
	return got, nil
}

// ReadAudit reads what ExportAudit wrote, for tenants.VerifyAudit.
func ReadAudit(from io.Reader) iter.Seq2[tenants.AuditEntry, error] {
	return func(yield func(tenants.AuditEntry, error) bool) {
		lines := bufio.NewScanner(from)
		lines.Buffer(nil, maxAuditLine)
		for lines.Scan() {
			var e tenants.AuditEntry
			err := json.Unmarshal(lines.Bytes(), &e)
			if !yield(e, err) || err != nil {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(tenants.AuditEntry{}, err)
		}
	}
}
