package api

import (
	"encoding/json"
	"mime"
	"net/http"
	"strconv"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/tenants"
)

// maxVersionBody bounds a version's JSON, whose manifest may be spelled with six characters for a byte and whose lists of files are long.
const maxVersionBody = 6*deploy.MaxManifest + 16<<20

func (c *call) actor() deploy.Actor { return deploy.Actor{Name: c.who.Subject, Request: c.request()} }

func (s *server) listVersions(c *call) error {
	q, err := c.page()
	if err != nil {
		return err
	}
	p, err := s.Store.Versions(c.ctx(), c.tenant.Value.ID, c.app.Value.Name, q)
	return pageOf(c, p, err, same)
}

func (s *server) showVersion(c *call) error {
	have, err := s.Store.Version(c.ctx(), c.tenant.Value.ID, c.app.Value.Name, c.r.PathValue("version"))
	if err != nil {
		return noSuchIf(err, "version")
	}
	return c.one(http.StatusOK, have.Revision, have.Value)
}

func (s *server) deleteVersion(c *call) error {
	err := s.Controller.DeleteVersion(c.ctx(), c.actor(), c.tenant.Value.ID, c.app.Value.Name, c.r.PathValue("version"))
	if err != nil {
		return noSuchIf(err, "version")
	}
	return c.empty(http.StatusNoContent)
}

type versionRequest struct {
	Manifest   string                                    `json:"manifest"`
	Components map[tenants.ComponentID]string            `json:"components"`
	Files      map[tenants.ComponentID]map[string]string `json:"files"`
	Source     *sourceRequest                            `json:"source"`
	Message    string                                    `json:"message"`
	Git        *gitRequest                               `json:"git"`
}

// sourceRequest names where the parts are, in place of components and files.
type sourceRequest struct {
	OCI string `json:"oci"` // host/name@sha256:...
}

type gitRequest struct {
	SHA   string `json:"sha"`
	Ref   string `json:"ref"`
	Dirty bool   `json:"dirty"`
}

func (in versionRequest) source() deploy.VersionSource {
	s := deploy.VersionSource{Manifest: in.Manifest, Components: in.Components, Files: in.Files, Message: in.Message}
	if in.Source != nil {
		s.OCI = in.Source.OCI
	}
	if in.Git != nil {
		s.Git = &tenants.Git{SHA: in.Git.SHA, Ref: in.Git.Ref, Dirty: in.Git.Dirty}
	}
	return s
}

type versionAnswer struct {
	Version   tenants.Version     `json:"version"`
	Unchanged bool                `json:"unchanged"`
	Operation tenants.OperationID `json:"operation,omitempty"`
}

type validAnswer struct {
	Valid   bool            `json:"valid"`
	Version tenants.Version `json:"version"` // as it would be
}

// createVersion makes a version of JSON that names artifacts or an image in a registry, or of one form that has everything. It goes on as an operation; Prefer: wait holds
// the answer for its end. With ?validate=only nothing is kept.
func (s *server) createVersion(c *call) error {
	only := c.q.Get("validate")
	if c.q.Has("validate") && only != "only" {
		return badRequest("invalid_parameter", `validate can be "only"`, "Use ?validate=only.")
	}
	in, err := s.readVersion(c)
	if err != nil {
		return err
	}
	if err := c.ownsAll(in); err != nil {
		return err
	}
	if in.Source != nil {
		if in.Source.OCI == "" {
			return invalid(fault{Pointer: "/source/oci", Code: "missing", Detail: "names an image: host/name@sha256:..."})
		}
		if err := s.uploads.take(); err != nil { // what a registry gives is an upload too
			return err
		}
		defer s.uploads.leave()
	}
	t, a := c.tenant.Value.ID, c.app.Value.Name
	if only != "" {
		v, err := s.Controller.CheckVersion(c.ctx(), t, a, in.source())
		if err != nil {
			return err
		}
		return c.json(http.StatusOK, validAnswer{true, v})
	}
	made, err := s.Controller.CreateVersion(c.ctx(), c.actor(), t, a, in.source())
	if err != nil {
		return err
	}
	out := versionAnswer{made.Version, made.Unchanged, made.Operation}
	at := c.inApp("versions/" + strconv.Itoa(made.Version.Number))
	if made.Operation == "" {
		c.w.Header().Set("Content-Location", at)
		return c.json(http.StatusOK, out)
	}
	return c.goesOn(made.Operation, at, func() (any, error) {
		have, err := s.Store.Version(c.ctx(), t, a, strconv.Itoa(made.Version.Number))
		out.Version = have.Value
		return out, err
	}, out)
}

// goesOn answers for an operation: 202 and where it is, or, where the caller waited for its end, 201 and what it made, or why it failed.
func (c *call) goesOn(id tenants.OperationID, at string, made func() (any, error), begun any) error {
	o, err := c.s.await(c, id)
	if err != nil {
		return err
	}
	switch o.State {
	case tenants.OperationDone:
		v, err := made()
		if err != nil {
			return err
		}
		c.w.Header().Set("Location", at)
		return c.json(http.StatusCreated, v)
	case tenants.OperationRunning:
		c.w.Header().Set("Location", "/v1/operations/"+string(id))
		return c.json(http.StatusAccepted, begun)
	}
	p := &deploy.Problem{Code: deploy.Failed, Detail: "the operation failed"}
	if err := json.Unmarshal(o.Problem, p); err != nil {
		return err
	}
	c.w.Header().Set("Content-Location", "/v1/operations/"+string(id))
	return p
}

func (s *server) readVersion(c *call) (in versionRequest, err error) {
	media, params, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if media == "multipart/form-data" {
		if err := plainEncoding(c.r); err != nil {
			return in, err
		}
		return s.readForm(c, params["boundary"])
	}
	b, err := c.readBody(maxVersionBody)
	if err != nil {
		return in, err
	}
	return in, decodeJSON(b, &in)
}

// ownsAll refuses artifacts that the tenant did not upload, as if they were not there.
func (c *call) ownsAll(in versionRequest) error {
	var missing []fault
	look := func(at, digest string) error {
		if tenants.CheckDigest(digest) != nil {
			return nil // told by who reads it
		}
		ok, err := c.owns(digest)
		if err == nil && !ok {
			addFault(&missing, at, "missing", "%s was not uploaded", digest)
		}
		return err
	}
	for id, digest := range in.Components {
		if err := look("/components/"+pointer.Replace(string(id)), digest); err != nil {
			return err
		}
	}
	for id, files := range in.Files {
		for path, digest := range files {
			if err := look("/files/"+pointer.Replace(string(id))+"/"+pointer.Replace(path), digest); err != nil {
				return err
			}
		}
	}
	if len(missing) > 0 {
		return &problem{Status: http.StatusUnprocessableEntity, Code: string(deploy.ArtifactMissing), Title: "Upload first", Detail: "not everything that the version names is there",
			Next: "Upload what is missing, then ask again.", Errors: missing}
	}
	return nil
}

// deployStatus puts the HTTP status beside each of the Controller's codes; what is not here is 500.
var deployStatus = map[deploy.ProblemCode]struct {
	status int
	title  string
}{
	deploy.InvalidManifest:  {http.StatusUnprocessableEntity, "The manifest has faults"},
	deploy.InvalidVersion:   {http.StatusUnprocessableEntity, "The version does not fit together"},
	deploy.InvalidRequest:   {http.StatusBadRequest, "Bad request"},
	deploy.DeployRefused:    {http.StatusUnprocessableEntity, "Deploy refused"},
	deploy.TooLarge:         {http.StatusRequestEntityTooLarge, "Too large"},
	deploy.NotPulled:        {http.StatusUnprocessableEntity, "Not taken from the registry"},
	deploy.ArtifactMissing:  {http.StatusUnprocessableEntity, "Upload first"},
	deploy.VersionNotReady:  {http.StatusConflict, "The version is not ready"},
	deploy.DeployInProgress: {http.StatusConflict, "Another deployment goes on"},
	deploy.ConfigChanged:    {http.StatusConflict, "Variables have changed"},
	deploy.NoRollback:       {http.StatusConflict, "Nothing to roll back to"},
	deploy.NotSubscribed:    {http.StatusBadGateway, "Redis did not acknowledge"},
	deploy.TenantSuspended:  {http.StatusForbidden, "The tenant is suspended"},
	deploy.Interrupted:      {http.StatusServiceUnavailable, "Interrupted"},
	deploy.Cancelled:        {http.StatusConflict, "Cancelled"},
	deploy.TooBusy:          {http.StatusTooManyRequests, "Too many operations at once"},
}

// deployProblem makes an answer of the Controller's.
func deployProblem(p *deploy.Problem) *problem {
	is, known := deployStatus[p.Code]
	if !known {
		is.status, is.title = http.StatusInternalServerError, "The deploy failed"
	}
	out := &problem{Status: is.status, Title: is.title, Code: string(p.Code), Detail: p.Detail, Next: p.Next, Limit: p.Limit, Names: p.Names, Errors: faultsOf(p.Faults)}
	if is.status == http.StatusTooManyRequests {
		out.RetryAfter = 5
	}
	return out
}
