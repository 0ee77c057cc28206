package tenants

import (
	"fmt"
	"slices"
	"time"
)

// VersionState is how far a Version has come.
type VersionState string

const (
	VersionUploaded   VersionState = "uploaded"   // everything it names is there
	VersionValidating VersionState = "validating" // manifest, imports, limits, channels, variables
	VersionCompiling  VersionState = "compiling"
	VersionReady      VersionState = "ready"    // it can take traffic
	VersionRejected   VersionState = "rejected" // its last Step says why
)

// A rejected version may be tried again: what it was rejected for may have been a policy, a variable or a full disk.
var versionLife = life[VersionState]{
	VersionUploaded:   {VersionValidating, VersionRejected},
	VersionValidating: {VersionCompiling, VersionRejected},
	VersionCompiling:  {VersionReady, VersionRejected},
	VersionRejected:   {VersionValidating},
}

// VersionsKept is how many Versions of an App are kept; the oldest that no deployment uses go first.
const VersionsKept = 100

// Git says which commit a Version was built from, as its maker told.
type Git struct {
	SHA   string `json:"sha"`           // at most 64 bytes
	Ref   string `json:"ref,omitempty"` // at most 255 bytes
	Dirty bool   `json:"dirty,omitempty"`
}

// Version is an App's immutable code and configuration. Only State and Steps change.
type Version struct {
	Key        VersionKey             `json:"id"`
	Tenant     ID                     `json:"tenant"`
	App        AppName                `json:"app"`
	Number     int                    `json:"number"`     // 1, 2, 3, ... within the App
	Digest     VersionID              `json:"digest"`     // of the manifest and all components and files: the same content is the same Version
	Manifest   string                 `json:"manifest"`   // digest of its text, an artifact
	Components map[ComponentID]string `json:"components"` // digest of each one's module, an artifact; 1 to 100
	Files      map[ComponentID]string `json:"files,omitempty"`
	Bytes      int64                  `json:"bytes"` // of all artifacts
	Variables  map[string]string      `json:"variables,omitempty"`
	Message    string                 `json:"message,omitempty"` // at most 1,000 bytes
	Git        *Git                   `json:"git,omitempty"`
	By         string                 `json:"created_by"`
	Created    time.Time              `json:"created"`
	State      VersionState           `json:"state"`
	Steps      []Step                 `json:"steps"` // at most 32
}

// Check reports all faults as Faults.
func (v Version) Check() error {
	var c checker
	checkID(&c, "/id", v.Key)
	c.name("/tenant", string(v.Tenant))
	c.name("/app", string(v.App))
	c.between("/number", int64(v.Number), 1, 1<<31)
	digest(&c, "/digest", string(v.Digest))
	digest(&c, "/manifest", v.Manifest)
	if len(v.Components) == 0 {
		c.add("/components", "missing", "a version has at least one component")
	}
	digests(&c, "/components", v.Components)
	digests(&c, "/files", v.Files)
	c.count("/variables", len(v.Variables), maxVariables, "variables")
	c.between("/bytes", v.Bytes, 0, 1<<40)
	c.text("/message", v.Message, 1000)
	if v.Git != nil {
		c.required("/git/sha", v.Git.SHA, 64)
		c.text("/git/ref", v.Git.Ref, 255)
	}
	subject(&c, "/created_by", v.By)
	oneOf(&c, "/state", v.State, VersionUploaded, VersionValidating, VersionCompiling, VersionReady, VersionRejected)
	c.count("/steps", len(v.Steps), maxSteps, "steps")
	return c.err()
}

// Artifacts lists the digests of everything that the version is made of, each once, sorted.
func (v Version) Artifacts() []string {
	all := []string{v.Manifest}
	for _, d := range v.Components {
		all = append(all, d)
	}
	for _, d := range v.Files {
		all = append(all, d)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Move enters the next state, or says that it may not follow.
func (v *Version) Move(to VersionState, reason, detail string, at time.Time) error {
	if err := versionLife.check(fmt.Sprintf("version %d of %s/%s", v.Number, v.Tenant, v.App), v.State, to); err != nil {
		return err
	}
	v.State, v.Steps = to, enter(v.Steps, Step{string(to), reason, detail, at})
	return nil
}

func digest(c *checker, pointer, s string) {
	if err := CheckDigest(s); err != nil {
		c.add(pointer, "invalid", "%v", err)
	}
}

// digests checks a table of artifacts in the order of its keys, so that the same faults come in the same order.
func digests(c *checker, pointer string, of map[ComponentID]string) {
	c.count(pointer, len(of), 100, "components")
	ids := make([]ComponentID, 0, len(of))
	for id := range of {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		if id == "" || len(id) > 255 {
			c.add(pointer, "invalid", "%.40q is no component's id", string(id))
		}
		digest(c, pointer+"/"+escapePointer(string(id)), of[id])
	}
}
