package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// auditLinger is how long one line of an export may take to go out.
const auditLinger = 30 * time.Second

// listAudit shows a chain's newest entries first. With Accept: application/x-ndjson it is the whole chain, the oldest first, one entry on each
// line, from the one behind ?after=SEQ on: what tenloom audit verify reads. Where the chain ended when the answer began is in the header.
func (s *server) listAudit(c *call) error {
	chain := c.tenant.Value.ID
	if chain == "" {
		chain = tenants.Platform
	}
	head, err := s.Store.AuditHead(c.ctx(), chain)
	if err != nil {
		return err
	}
	c.w.Header().Set("Audit-Head", fmt.Sprintf("%d %s", head.Seq, head.Hash))
	if wants(c.r, ndjson) {
		return s.exportAudit(c, chain, head)
	}
	if c.q.Has("after") {
		return badRequest("invalid_parameter", "after is for the export", "Ask with Accept: "+ndjson+".")
	}
	q, err := c.page()
	if err != nil {
		return err
	}
	p, err := s.Store.Audits(c.ctx(), chain, q)
	return pageOf(c, p, err, same)
}

const ndjson = "application/x-ndjson"

// wants tells whether the caller accepts a media type by its name.
func wants(r *http.Request, kind string) bool {
	for _, accept := range r.Header.Values("Accept") {
		for one := range strings.SplitSeq(accept, ",") {
			name, _, _ := strings.Cut(one, ";")
			if strings.EqualFold(strings.TrimSpace(name), kind) {
				return true
			}
		}
	}
	return false
}

func (s *server) exportAudit(c *call, chain tenants.ID, head tenants.AuditHead) error {
	after := uint64(0)
	if c.q.Has("after") {
		var err error
		if after, err = strconv.ParseUint(c.q.Get("after"), 10, 53); err != nil {
			return badRequest("invalid_parameter", "after is the number of an entry", "Use ?after=120.")
		}
	}
	if err := s.streams.take(); err != nil {
		return err
	}
	defer s.streams.leave()
	ctx, done := c.streaming()
	defer done()
	c.w.Header().Set("Content-Type", ndjson)
	c.w.Header().Set("Cache-Control", "no-store")
	c.w.WriteHeader(http.StatusOK)
	if c.r.Method == http.MethodHead {
		return nil
	}
	out := http.NewResponseController(c.w)
	enc := json.NewEncoder(c.w)
	enc.SetEscapeHTML(false)
	for e, err := range s.Store.AuditEntries(ctx, chain, after) {
		if err != nil || e.Seq > head.Seq {
			return err // in the middle of an answer: it is cut, and the head says what is missing
		}
		if e.Seq%100 == 1 {
			out.SetWriteDeadline(time.Now().Add(auditLinger))
		}
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	return nil
}
