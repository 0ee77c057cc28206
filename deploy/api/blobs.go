package api

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
	"github.com/tenloom/tenloom/tenants/store/artifact"
)

// Bounds of uploads.
const (
	maxUploads  = 64               // at once
	uploadPause = 30 * time.Second // between two parts of a body that arrive
	uploadTime  = 15 * time.Minute // of one upload
)

// claim notes that the path's tenant uploaded artifacts. They are shared by digest; without this a tenant could find out, and even run, what
// another has.
func (c *call) claim(digests ...string) error {
	for some := range slices.Chunk(digests, store.MaxClaims) {
		_, err := c.s.Store.UpdateOf(c.ctx(), c.tenant.Value.ID, func(tx *store.Tx) error { return tx.Claim(c.ctx(), c.tenant.Value.ID, c.now, some...) })
		if err != nil {
			return err
		}
	}
	return nil
}

// owns tells whether the path's tenant uploaded an artifact lately, or the path's app has a version of it.
func (c *call) owns(digest string) (bool, error) {
	if ok, err := c.s.Store.Claimed(c.ctx(), c.tenant.Value.ID, digest, c.now); ok || err != nil {
		return ok, err
	}
	for q := (store.Query{Limit: store.MaxPage}); ; {
		p, err := c.s.Store.Versions(c.ctx(), c.tenant.Value.ID, c.app.Value.Name, q)
		if err != nil {
			return false, err
		}
		for _, v := range p.Items {
			for _, d := range v.Value.Artifacts() {
				if d == digest {
					return true, nil
				}
			}
		}
		if q.Cursor = p.Next; q.Cursor == "" {
			return false, nil
		}
	}
}

// headBlob tells whether an artifact need not be uploaded again.
func (s *server) headBlob(c *call) error {
	digest := c.r.PathValue("digest")
	if tenants.CheckDigest(digest) != nil {
		return noSuch("artifact")
	}
	switch ok, err := c.owns(digest); {
	case err != nil:
		return err
	case !ok:
		return noSuch("artifact")
	}
	info, err := s.Artifacts.Stat(c.ctx(), digest)
	if errors.Is(err, artifact.ErrNotFound) {
		return noSuch("artifact")
	}
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", "application/octet-stream")
	c.w.Header().Set("Content-Length", strconv.FormatInt(info.Size, 10))
	c.w.Header().Set("ETag", `"`+digest+`"`)
	return c.empty(http.StatusOK)
}

type blobAnswer struct {
	Digest string `json:"digest"`
	Bytes  int64  `json:"bytes"`
}

// putBlob stores an artifact. It is read as it comes; one that is cut off, too large or not what its digest says leaves nothing.
func (s *server) putBlob(c *call) error {
	digest := c.r.PathValue("digest")
	if err := tenants.CheckDigest(digest); err != nil {
		return invalid(fault{Code: "invalid", Detail: clip(err.Error())})
	}
	if err := plainEncoding(c.r); err != nil {
		return err
	}
	most := c.policy.Grants.AppBytes
	if c.r.ContentLength > most {
		return tooLarge("an artifact", most)
	}
	if err := s.uploads.take(); err != nil {
		return err
	}
	defer s.uploads.leave()
	n, err := s.Artifacts.Put(c.ctx(), digest, c.patient(), most)
	if err != nil {
		return uploadProblem(err, most)
	}
	if err := c.claim(digest); err != nil {
		return err
	}
	return c.json(http.StatusCreated, blobAnswer{digest, n})
}

func uploadProblem(err error, most int64) error {
	switch {
	case errors.Is(err, artifact.ErrDigest):
		return &problem{Status: http.StatusUnprocessableEntity, Code: "digest_mismatch", Title: "Not what its digest says", Detail: "the content has another digest; nothing was kept",
			Next: "Compute the SHA-256 of what is sent."}
	case errors.Is(err, artifact.ErrTooLarge):
		return tooLarge("an artifact", most)
	case errors.Is(err, artifact.ErrFull):
		return &problem{Status: http.StatusInsufficientStorage, Code: "store_full", Title: "No space left", Detail: "the platform has no room for artifacts; nothing was kept",
			Next: "Ask an operator to make room, then try again."}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return badRequest("incomplete_body", "the body ended before its time; nothing was kept", "Send it again.")
	}
	return err
}

// patient is the request's body with a deadline for each part, instead of one for all.
func (c *call) patient() io.Reader {
	return &patient{c.r.Body, http.NewResponseController(c.w), time.Now().Add(uploadTime)}
}

type patient struct {
	from io.Reader
	c    *http.ResponseController
	end  time.Time
}

func (p *patient) Read(b []byte) (int, error) {
	next := time.Now().Add(uploadPause)
	if next.After(p.end) {
		next = p.end
	}
	if err := p.c.SetReadDeadline(next); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.from.Read(b)
}
