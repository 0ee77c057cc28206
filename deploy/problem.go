package deploy

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/tenloom/tenloom/deploy/manifest"
	"github.com/tenloom/tenloom/tenants"
)

// Problem is why a Controller does not do what it was asked, or has failed to: an author's part of an RFC 9457 document. In its JSON form it
// stands in an Operation that failed.
type Problem struct {
	Code   ProblemCode    `json:"code"`
	Detail string         `json:"detail"`           // a sentence without its full stop; no secret value
	Next   string         `json:"next,omitempty"`   // what to do about it
	Faults tenants.Faults `json:"errors,omitempty"` // all at once; those of a manifest begin with file:line:column
	Names  []string       `json:"names,omitempty"`  // with ConfigChanged: what changed, sorted
	Limit  int64          `json:"limit,omitempty"`  // with TooLarge: bytes

	cause error
}

// ProblemCode is stable; clients branch on it.
type ProblemCode string

// Codes of Problems. What the store refuses (not found, changed meanwhile, quota, state) keeps the store's errors.
const (
	InvalidManifest  ProblemCode = "invalid_manifest"   // it cannot be read
	InvalidVersion   ProblemCode = "invalid_version"    // what was sent does not fit together
	InvalidRequest   ProblemCode = "invalid_request"    // weights, guard or affinity make no sense
	DeployRefused    ProblemCode = "deploy_refused"     // policy, platform, variables or modules do not allow it
	TooLarge         ProblemCode = "too_large"          // manifest or artifacts
	ArtifactMissing  ProblemCode = "artifact_missing"   // to be uploaded first
	NotPulled        ProblemCode = "not_pulled"         // from an OCI registry
	VersionNotReady  ProblemCode = "version_not_ready"  // rejected, or still on its way
	DeployInProgress ProblemCode = "deploy_in_progress" // another deployment of the app has not ended
	ConfigChanged    ProblemCode = "config_changed"     // variables or secrets, since the version last took traffic
	NoRollback       ProblemCode = "no_rollback"        // there is no version to go back to
	NotSubscribed    ProblemCode = "not_subscribed"     // a server did not acknowledge a new target
	NotSwitched      ProblemCode = "not_switched"       // the running system or the store failed in the switch
	TenantSuspended  ProblemCode = "tenant_suspended"
	Interrupted      ProblemCode = "interrupted" // the process ended in the middle
	Cancelled        ProblemCode = "cancelled"
	TooBusy          ProblemCode = "too_busy" // too many operations of the tenant wait
	Failed           ProblemCode = "failed"   // a fault of the platform, not of the app
)

func (p *Problem) Error() string {
	text := p.Detail
	if len(p.Faults) > 0 {
		text += ": " + p.Faults.Error()
	}
	if p.Next != "" {
		text += "; " + p.Next
	}
	return text
}

func (p *Problem) Unwrap() error { return p.cause }

// NextStep is what to do about it.
func (p *Problem) NextStep() string { return p.Next }

func problemf(code ProblemCode, next, format string, args ...any) *Problem {
	err := fmt.Errorf(format, args...)
	return &Problem{Code: code, Detail: err.Error(), Next: next, cause: errors.Unwrap(err)}
}

// problemOf makes a Problem of what went wrong on the way.
func problemOf(err error) *Problem {
	var p *Problem
	var refused *Refused
	var faults manifest.Faults
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &refused):
		return &Problem{Code: DeployRefused, Detail: "the version cannot run here", Next: "mend what the errors name, and deploy again", Faults: pointed(refused.Faults), cause: err}
	case errors.As(err, &faults):
		return &Problem{Code: InvalidManifest, Detail: "the manifest has faults", Next: "mend them, and deploy again", Faults: pointed(faults), cause: err}
	}
	return &Problem{Code: Failed, Detail: err.Error(), Next: next(err), cause: err}
}

// pointed gives faults of a manifest the form of a resource's, with their place in the text before what is wrong.
func pointed(all manifest.Faults) tenants.Faults {
	out := make(tenants.Faults, len(all))
	for i, f := range all {
		path := f.Path
		f.Path = ""
		out[i] = tenants.Fault{Pointer: pointer(path), Code: "invalid", Detail: f.Error()}
	}
	return out
}

var keys = regexp.MustCompile(`"[^"]*"|[^.\[\]]+`)

// pointer turns dotted keys into an RFC 6901 pointer: component.mailer.files[0] into /component/mailer/files/0.
func pointer(path string) string {
	var b strings.Builder
	for _, key := range keys.FindAllString(path, -1) {
		key = strings.Trim(key, `"`)
		b.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key))
	}
	return b.String()
}
