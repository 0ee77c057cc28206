// Package manifest reads Spin's spin.toml, version 1 and version 2, into one Manifest.
//
// It owns what the file may say: every key with its type, default and rule, as Spin itself reads it, and the tables that Spin leaves to other
// tools and tenloom reads ([component.X.tool.tenloom] and [application.tool.tenloom]). A faulty file gives all its faults at once, each with
// line, column and the next step.
//
// It refuses what Spin refuses: keys it does not know, ids that break the rules, templates over variables that are not declared. And it refuses
// what tenloom does not run: triggers other than Redis. It does not fetch or open Wasm, read variables' values, judge the grammar of allowed hosts,
// or hold settings against a tenant's policy; the rooms that do these get positions along with the texts.
package manifest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// FileName is the manifest's name within an application's directory.
const FileName = "spin.toml"

// Manifest is an application as its author described it. It is not changed after it is read.
type Manifest struct {
	File        string // as given to Load or Parse, with spin.toml added to a directory
	Dir         string // absolute; sources and files are relative to it
	SpinVersion int    // 1 or 2
	Name        string
	Version     string
	Description string
	Authors     []string
	Variables   []Variable
	Triggers    []Trigger
	Components  []Component // in the order of the file, inline ones last
	Address     Text        // of the Redis server of triggers that name none; empty in version 2 where no table [application.trigger.redis] is
	Warnings    []Fault     // what is allowed but likely not meant
}

// Text is a string that may hold {{ }} expressions over the application's variables.
type Text struct {
	Raw          string // as written
	Template     tenants.Template
	Line, Column int // both 0 where the manifest does not give it
}

// Variable is one of the application's variables: exactly one of Default and Required is given.
type Variable struct {
	Name        string
	Default     *string
	Required    bool
	Secret      bool
	Description string
	Line        int
}

// Trigger wakes a component for each message of a channel.
type Trigger struct {
	ID        string // unique; generated as Spin generates it where the manifest gives none
	Component tenants.ComponentID
	Channel   Text
	Address   Text // empty: the Manifest's Address
	Line      int
}

// Component is one Wasm unit and what it may use.
type Component struct {
	ID                   tenants.ComponentID
	Description          string
	Source               Source
	Environment          map[string]string // literal: {{ }} means nothing here
	Files                []Mount
	ExcludeFiles         []string // globs over paths relative to Dir
	Variables            map[string]Text
	AllowedOutboundHosts []Text
	AllowedHTTPHosts     []Text // deprecated form, not templated; the reader of allowed hosts converts it
	HostsGiven           bool   // allowed_outbound_hosts is in the file; where it is not, version 1 grants all Redis, MySQL and PostgreSQL servers
	KeyValueStores       []string
	SQLiteDatabases      []string
	AIModels             []string
	Build                *Build
	Dependencies         []Dependency
	Profiles             map[string]Profile
	Tool                 Tool
	Line                 int
}

// Source is where a component's Wasm comes from: a Path, or URL and Digest, or Package and Version with or without Registry.
type Source struct {
	Path                       string // relative to the manifest's directory, which it may leave
	URL, Digest                string // Digest: "sha256:" and 64 hex digits
	Registry, Package, Version string
	Line, Column               int
}

// Mount is one entry of a component's files: a Pattern, or a file or directory to be seen at Destination.
type Mount struct {
	Pattern             string
	Source, Destination string
	Line, Column        int
}

// Build says how the author builds the component. Hosts ignore it.
type Build struct {
	Commands []string
	Workdir  string
	Watch    []string
}

// Dependency satisfies an import of a component with another component.
type Dependency struct {
	Name                       string // foo:bar/baz@1.0.0 or plain-name
	Path                       string
	URL, Digest                string
	Registry, Package, Version string // Version is a requirement here: ">=0.1.0"
	Component                  tenants.ComponentID
	Export                     string
	InheritAll                 bool // the component's permissions are the dependency's too
	Inherit                    []string
	Line, Column               int
	inheritGiven               bool
}

// Profile changes a component for one kind of build; see Manifest.Profile.
type Profile struct {
	Source       *Source
	Environment  map[string]string
	Dependencies []Dependency
	Commands     []string
}

// Tool is what [component.X.tool.tenloom] says, completed from [application.tool.tenloom]. Nil and "" mean: not given.
type Tool struct {
	Pattern     *Text  // subscribed to as a pattern, beside the channel
	Sharded     *Text  // subscribed to as a sharded channel
	Stream      *Text  // read as a stream instead
	Group       *Text  // consumer group of Stream
	Concurrency *int   // invocations at once, from 1
	Isolation   string // "fresh" or "reuse"
	Timeout     *time.Duration
	Memory      *uint64 // bytes
	Fuel        *uint64 // units of one invocation, from 1
	HostCalls   *int    // in one invocation, from 1
	BytesOut    *uint64 // through host calls in one invocation
	BytesIn     *uint64
	Handles     *int    // open at once in one invocation, of each kind, from 1
	Output      *uint64 // bytes of each output stream in one invocation
	LogRate     *int    // lines in a second, from 1
	Overflow    *tenants.Overflow
	MaxWait     *time.Duration
	Trace       string  // "cloudevents": what is published takes the trace along in an envelope; "" as it stands
	OrderBy     *string // a tenants.Pointer into the payload
	Retry       *Retry  // with Stream only
	DeadLetter  *bool   // with Stream only
}

// Retry says how often a message of a stream is tried, and how long to wait in between.
type Retry struct {
	Attempts               int // from 1
	MinBackoff, MaxBackoff time.Duration
}

// Isolation values of Tool.
const (
	Fresh = "fresh"
	Reuse = "reuse"
)

// CloudEvents is the value of Tool.Trace that there is.
const CloudEvents = "cloudevents"

// Load reads the manifest at path, a file or a directory that holds spin.toml. Where there is no such file the error wraps fs.ErrNotExist and says
// where it was looked for; what is wrong inside the file comes as Faults.
func Load(path string) (*Manifest, error) {
	if path == "" {
		path = "."
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, FileName)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, missing(path, err)
	case err != nil:
		return nil, fmt.Errorf("read manifest: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("read manifest: %s is not a file; give the application's directory or its %s", path, FileName)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return Parse(path, data)
}

// missing names the place that was looked at, and a manifest further up if there is one: it is not read, because running another
// application than the one asked for is worse than asking again.
func missing(path string, err error) error {
	next := "give the directory of a Spin application, or make one with \"tenloom new\""
	if abs, wrong := filepath.Abs(path); wrong == nil {
		for dir := filepath.Dir(filepath.Dir(abs)); ; dir = filepath.Dir(dir) {
			if info, wrong := os.Stat(filepath.Join(dir, FileName)); wrong == nil && info.Mode().IsRegular() {
				next = fmt.Sprintf("there is one in %s: give that directory", dir)
				break
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return fmt.Errorf("read manifest: %s: %w; %s", path, errors.Unwrap(err), next)
}

// Parse reads a manifest's text. The name is used in faults, and its directory is where sources and files are looked for. What is wrong comes as
// Faults, all at once.
func Parse(name string, data []byte) (*Manifest, error) {
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return nil, fmt.Errorf("find the manifest's directory: %w", err)
	}
	root, faults := growTree(name, data)
	if faults != nil {
		return nil, faults
	}
	d := &decoder{file: name}
	d.version = d.detect(root)
	m := &Manifest{File: name, Dir: dir, SpinVersion: d.version}
	d.declare(root)
	switch d.version {
	case 1:
		d.v1(m, root)
	case 2:
		d.v2(m, root)
	}
	if err := d.result(); err != nil {
		return nil, err
	}
	m.Warnings = d.warnings
	return m, nil
}

// detect finds the manifest's version. Where the file does not say it rightly that is a fault, and what it looks like is read on, so that its other
// faults are found too; 0 means it looks like neither.
func (d *decoder) detect(root *node) int {
	const next = `write spin_manifest_version = 2 for version 2, or spin_manifest_version = "1" for version 1`
	v := root.get("spin_manifest_version")
	if v == nil {
		v = root.get("spin_version")
	}
	switch {
	case v == nil:
		d.fault(root.at, "spin_manifest_version", next, "is missing")
	case v.kind == text && v.text == "1":
		return 1
	case v.kind == integer && parsedInt(v) == 2:
		return 2
	case v.kind == text:
		d.fault(v.at, "spin_manifest_version", next, "invalid manifest version: %q", clip(v.text))
	default:
		d.fault(v.at, "spin_manifest_version", next, "invalid manifest version: %s", clip(v.text))
	}
	if root.get("application") != nil {
		return 2
	}
	if root.get("name") != nil {
		return 1
	}
	return 0
}

// declare notes which variables there are before templates name them.
func (d *decoder) declare(root *node) {
	d.declared = map[string]bool{}
	if v := root.get("variables"); v != nil {
		for _, e := range v.entries {
			d.declared[e.key] = true
		}
	}
}

func (d *decoder) variables(to *[]Variable) reader {
	return d.each(func(path string, e entry) {
		d.checkVariable(path, e.at, e.key)
		v := Variable{Name: e.key, Line: e.at.line}
		given := ""
		before := len(d.faults) + d.more
		d.table(path, e.value,
			may("default", d.text(&given)),
			may("required", d.flag(&v.Required)),
			may("secret", d.flag(&v.Secret)),
			may("description", d.text(&v.Description)),
		)
		if e.value.get("default") != nil {
			v.Default = &given
		}
		if len(d.faults)+d.more == before && v.Required == (v.Default != nil) {
			d.fault(e.at, path, "give it required = true, or a default, and not both", "must be `required` OR have a `default`")
		}
		*to = append(*to, v)
	})
}
