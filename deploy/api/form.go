package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"mime/multipart"
	"os"
	"strings"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/tenants"
)

// maxParts is how many parts a form may have.
const maxParts = 10_200

// form is a multipart upload that is being read.
type form struct {
	s    *server
	c    *call
	in   versionRequest
	left int64 // bytes that artifacts may still have
	seen map[string]bool
	kept []string // digests of artifacts; at most maxParts
}

// readForm reads a version that comes as one form, so that curl alone can deploy:
//
//	curl -F manifest=@spin.toml -F component/mailer=@mailer.wasm [-F files/mailer/a.txt=@a.txt] [-F message=...] [-F git='{"sha":"..."}'] .../versions
//
// Each part that is a module or file is kept by its digest as it comes; no more than Grants.AppBytes of them are read.
func (s *server) readForm(c *call, boundary string) (versionRequest, error) {
	if boundary == "" || len(boundary) > 70 {
		return versionRequest{}, badRequest("invalid_form", "the form has no boundary", "Send multipart/form-data as curl -F does.")
	}
	if err := s.uploads.take(); err != nil {
		return versionRequest{}, err
	}
	defer s.uploads.leave()
	f := &form{s: s, c: c, left: c.policy.Grants.AppBytes, seen: map[string]bool{},
		in: versionRequest{Components: map[tenants.ComponentID]string{}, Files: map[tenants.ComponentID]map[string]string{}}}
	parts := multipart.NewReader(c.patient(), boundary)
	for range maxParts {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return f.in, c.claim(f.kept...)
		}
		if err == nil {
			err = f.part(part)
		}
		if err != nil {
			return f.in, f.problem(err)
		}
	}
	return f.in, invalid(fault{Code: "too_many", Detail: "the form has too many parts"})
}

func (f *form) problem(err error) error {
	var own *problem
	switch {
	case errors.As(err, &own) || isTimeout(err):
		return err
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return badRequest("incomplete_body", "the form ended before its time", "Send it again.")
	case strings.HasPrefix(err.Error(), "multipart:"):
		return badRequest("invalid_form", clip(err.Error()), "Send multipart/form-data as curl -F does.")
	}
	return uploadProblem(err, f.c.policy.Grants.AppBytes)
}

func (f *form) part(p *multipart.Part) error {
	name := p.FormName()
	at := "/" + clip(pointer.Replace(name))
	if f.seen[name] {
		return invalid(fault{Pointer: at, Code: "duplicate", Detail: "is there twice"})
	}
	f.seen[name] = true
	kind, rest, _ := strings.Cut(name, "/")
	switch {
	case name == "manifest":
		return f.text(p, "the manifest", deploy.MaxManifest, &f.in.Manifest)
	case name == "message":
		return f.text(p, "the message", 4<<10, &f.in.Message)
	case name == "git":
		var text string
		if err := f.text(p, "git", 4<<10, &text); err != nil {
			return err
		}
		f.in.Git = &gitRequest{}
		if !json.Valid([]byte(text)) {
			return invalid(fault{Pointer: "/git", Code: "invalid_json", Detail: "is not JSON"})
		}
		return decodeJSON([]byte(text), f.in.Git)
	case kind == "component" && rest != "":
		digest, err := f.keep(p)
		f.in.Components[tenants.ComponentID(rest)] = digest
		return err
	case kind == "files" && strings.Contains(rest, "/"):
		id, path, _ := strings.Cut(rest, "/")
		digest, err := f.keep(p)
		files := f.in.Files[tenants.ComponentID(id)]
		if files == nil {
			files = map[string]string{}
			f.in.Files[tenants.ComponentID(id)] = files
		}
		files[path] = digest
		return err
	}
	return invalid(fault{Pointer: at, Code: "unknown_field", Detail: "is not known; parts are manifest, component/ID, files/ID/PATH, message, git"})
}

func (f *form) text(p *multipart.Part, what string, most int64, to *string) error {
	b, err := io.ReadAll(io.LimitReader(p, most+1))
	if err == nil && int64(len(b)) > most {
		err = tooLarge(what, most)
	}
	*to = string(b)
	return err
}

// keep stores a part by its digest, which is known only at its end: so it waits in a temporary file.
func (f *form) keep(p *multipart.Part) (digest string, err error) {
	tmp, err := os.CreateTemp("", "tenloom-upload-")
	if err != nil {
		return "", err
	}
	defer func() {
		tmp.Close() // read only what was written; nothing of it is kept
		os.Remove(tmp.Name())
	}()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(tmp, sum), io.LimitReader(p, f.left+1))
	switch {
	case err != nil:
		return "", err
	case n > f.left:
		return "", tooLarge("all modules and files of a version together", f.c.policy.Grants.AppBytes)
	}
	f.left -= n
	if _, err := tmp.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	digest = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	if _, err := f.s.Artifacts.Put(f.c.ctx(), digest, tmp, n); err != nil {
		return "", err
	}
	f.kept = append(f.kept, digest)
	return digest, nil
}
