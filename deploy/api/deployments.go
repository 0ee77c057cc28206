package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/tenloom/tenloom/deploy"
	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// showDeployment leaves out the marks of values, which a short value could be guessed from.
func showDeployment(d tenants.Deployment) tenants.Deployment {
	d.Config = nil
	return d
}

func (s *server) listDeployments(c *call) error {
	q, err := c.page()
	if err != nil {
		return err
	}
	p, err := s.Store.Deployments(c.ctx(), c.tenant.Value.ID, c.app.Value.Name, q)
	return pageOf(c, p, err, showDeployment)
}

// deploymentOf shows a deployment, the newest by the name "current".
func (s *server) deploymentOf(c *call) error {
	have, err := s.Store.Deployment(c.ctx(), c.tenant.Value.ID, c.app.Value.Name, c.r.PathValue("deployment"))
	if err != nil {
		return noSuchIf(err, "deployment")
	}
	return c.one(http.StatusOK, have.Revision, showDeployment(have.Value))
}

// versionRef names a version as people do: 3, "3", "v3", an id or a digest.
type versionRef string

func (v *versionRef) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*v = versionRef(text)
		return nil
	}
	var n uint32
	if err := json.Unmarshal(b, &n); err != nil {
		return errors.New("is not the number, id or digest of a version")
	}
	*v = versionRef(strconv.Itoa(int(n)))
	return nil
}

// guardRequest is a Guard whose fields that are left out have their defaults.
type guardRequest struct{ tenants.Guard }

func (g *guardRequest) UnmarshalJSON(b []byte) error {
	g.Guard = tenants.DefaultGuard()
	return json.Unmarshal(b, &g.Guard)
}

type deploymentRequest struct {
	Version  versionRef     `json:"version"`
	Percent  *int           `json:"percent"`
	Weights  []shareRequest `json:"weights"`
	Rollback *rollback      `json:"rollback"`
	Affinity string         `json:"affinity"`
	Guard    *guardRequest  `json:"guard"`
	Reason   string         `json:"reason"`
	Accept   []string       `json:"accept"`
}

type shareRequest struct {
	Version versionRef `json:"version"`
	Percent int        `json:"percent"`
}

type rollback struct {
	To versionRef `json:"to"`
}

type deploymentAnswer struct {
	Deployment tenants.Deployment  `json:"deployment"`
	Operation  tenants.OperationID `json:"operation"`
}

// createDeployment gives versions an app's messages: one, or two by weight, or with rollback the one before. With If-Match it does so only while
// the app is as its ETag says.
func (s *server) createDeployment(c *call) error {
	var in deploymentRequest
	if err := c.readJSON(&in); err != nil {
		return err
	}
	if err := in.check(); err != nil {
		return err
	}
	t, a := c.tenant.Value.ID, c.app.Value.Name
	if first, err := s.first(c, in); err != nil {
		return err
	} else if !first {
		if err := s.take(c, tenants.DeployMeter); err != nil {
			return err
		}
	}
	made, err := s.deploys(c, in)
	if err != nil {
		return err
	}
	out := deploymentAnswer{showDeployment(made.Deployment), made.Operation}
	return c.goesOn(made.Operation, c.inApp("deployments/"+string(made.Deployment.ID)), func() (any, error) {
		have, err := s.Store.Deployment(c.ctx(), t, a, string(made.Deployment.ID))
		out.Deployment = showDeployment(have.Value)
		return out, err
	}, out)
}

// first tells whether a deployment is a version's first one, right after it was made: then the making counted as a deploy for both.
func (s *server) first(c *call, in deploymentRequest) (bool, error) {
	if in.Version == "" {
		return false, nil
	}
	v, err := s.Store.Version(c.ctx(), c.tenant.Value.ID, c.app.Value.Name, string(in.Version))
	if err != nil {
		return false, noSuchIf(err, "version")
	}
	before, err := s.Store.Deployment(c.ctx(), c.tenant.Value.ID, c.app.Value.Name, store.Current)
	if errors.Is(err, store.ErrNotFound) {
		return true, nil
	}
	return before.Value.Created.Before(v.Value.Created), err
}

// check finds fields that do not go together.
func (in deploymentRequest) check() error {
	var faults []fault
	ways := 0
	for _, given := range []bool{in.Version != "", in.Weights != nil, in.Rollback != nil} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		addFault(&faults, "", "conflict", "give one of version, weights and rollback")
	}
	if in.Percent != nil && in.Version == "" {
		addFault(&faults, "/percent", "conflict", "goes with version only")
	}
	if in.Percent != nil && (*in.Percent < 1 || *in.Percent > 100) {
		addFault(&faults, "/percent", "out_of_range", "%d is not between 1 and 100", *in.Percent)
	}
	if in.Rollback != nil && (in.Guard != nil || in.Affinity != "") {
		addFault(&faults, "/rollback", "conflict", "a rollback takes all messages at once: it has no guard and no affinity")
	}
	if in.Accept != nil && in.Rollback == nil {
		addFault(&faults, "/accept", "conflict", "goes with rollback only")
	}
	if len(in.Accept) > 1000 {
		addFault(&faults, "/accept", "too_many", "%d names, at most 1000 are read", len(in.Accept))
	}
	if len(faults) > 0 {
		return invalid(faults...)
	}
	return nil
}

func (s *server) deploys(c *call, in deploymentRequest) (deploy.Deployed, error) {
	t, a, ifMatch := c.tenant.Value.ID, c.app.Value.Name, c.r.Header.Get("If-Match")
	if in.Rollback != nil {
		return s.Controller.Rollback(c.ctx(), c.actor(), t, a, deploy.RollbackRequest{To: string(in.Rollback.To), Accept: in.Accept, Reason: in.Reason, IfMatch: ifMatch})
	}
	r := deploy.DeploymentRequest{Affinity: in.Affinity, Reason: in.Reason, IfMatch: ifMatch}
	if in.Guard != nil {
		r.Guard = &in.Guard.Guard
	}
	for _, w := range in.Weights {
		r.Shares = append(r.Shares, deploy.Share{Version: string(w.Version), Percent: w.Percent})
	}
	if in.Version != "" {
		r.Shares = []deploy.Share{{Version: string(in.Version), Percent: 100}}
	}
	if in.Percent != nil && *in.Percent < 100 {
		other, err := s.stable(c, string(in.Version))
		if err != nil {
			return deploy.Deployed{}, err
		}
		r.Shares[0].Percent = *in.Percent
		r.Shares = append(r.Shares, deploy.Share{Version: other, Percent: 100 - *in.Percent})
	}
	return s.Controller.CreateDeployment(c.ctx(), c.actor(), t, a, r)
}

// stable is the version that a canary is tried against: of the newest deployment, the other one with the larger share.
func (s *server) stable(c *call, tried string) (string, error) {
	t, a := c.tenant.Value.ID, c.app.Value.Name
	v, err := s.Store.Version(c.ctx(), t, a, tried)
	if err != nil {
		return "", noSuchIf(err, "version")
	}
	d, err := s.Store.Deployment(c.ctx(), t, a, store.Current)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	best := tenants.Weight{}
	for _, w := range d.Value.Weights {
		if w.Version != v.Value.Number && w.Percent > best.Percent {
			best = w
		}
	}
	if best.Version == 0 {
		return "", invalid(fault{Pointer: "/percent", Code: "invalid", Detail: "no other version takes messages, so there is nothing to share with"})
	}
	return strconv.Itoa(best.Version), nil
}

// cancelDeployment stops a deployment that has not switched yet.
func (s *server) cancelDeployment(c *call) error {
	if err := bodyless(c.r); err != nil {
		return err
	}
	d, err := s.Controller.CancelDeployment(c.ctx(), c.actor(), c.tenant.Value.ID, c.app.Value.Name, c.r.PathValue("deployment"))
	if err != nil {
		return noSuchIf(err, "deployment")
	}
	return c.json(http.StatusOK, showDeployment(d))
}

// since reads a moment: a time (RFC 3339), or how long ago.
func since(text string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, badRequest("invalid_parameter", fmt.Sprintf("since is a time such as 2026-01-02T15:04:05Z, or a duration such as 15m, not %s", clip(text)), "Use ?since=15m.")
	}
	return at, nil
}
