package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tenloom/tenloom/tenants"
)

// Bounds of component files. What is beyond is a fault.
const (
	MaxComponentFile = 1 << 20 // bytes
	maxComponents    = 1000    // documents of one file
)

// ComponentFile is the text of a file with Dapr components, in YAML or JSON, one or more documents.
type ComponentFile struct {
	Name string
	Text []byte
}

// RedisComponent is a component of the type bindings.redis or pubsub.redis, as a connection.
type RedisComponent struct {
	File string
	Line int
	// Connection has Name, Address, CA and Tuning. Its secrets are in Login and Keys, for who seals them.
	Connection tenants.Connection
	Login      RedisLogin
	Optional   bool // ignoreErrors: the platform starts without it
}

// RedisLogin are the secrets of a component. It prints [redacted].
type RedisLogin struct {
	User, Password string
	Keys           tenants.LoginKeys
}

// String implements fmt.Stringer.
func (RedisLogin) String() string { return "[redacted]" }

// GoString implements fmt.GoStringer.
func (RedisLogin) GoString() string { return "[redacted]" }

// SecretStore is a component that Dapr reads secrets from.
type SecretStore struct {
	Name, Type string // Type is "" for one that the files do not hold
	Settings   map[string]string
}

// SecretRef is a value that stands elsewhere: a secret of a store, or, with Env, a variable of the environment.
type SecretRef struct {
	Store     SecretStore
	Name, Key string
	Env       string
}

// String names the place without the value.
func (r SecretRef) String() string {
	if r.Env != "" {
		return "envRef " + r.Env
	}
	return "secretKeyRef " + r.Name + "/" + r.Key
}

// Components are what files hold.
type Components struct {
	Redis    []RedisComponent
	Warnings Faults // what has no effect, and what is passed over
	// Refs are the places of the values that the components take from elsewhere, each once.
	Refs []SecretRef
}

// ReadComponents reads files of Dapr components (docs.dapr.io, component schema dapr.io/v1alpha1): bindings.redis and pubsub.redis as
// connections, secret stores for secretKeyRef; others are passed over with a warning. secret finds what stands elsewhere; nil refuses it. The
// error is of type Faults and says all that is wrong at once. Values of secrets are in no message.
func ReadComponents(files []ComponentFile, secret func(SecretRef) (string, error)) (Components, error) {
	r := &componentReader{secret: secret, stores: map[string]SecretStore{}, places: map[string]string{}}
	var documents []*document
	for _, f := range files {
		documents = append(documents, r.documents(f)...)
	}
	for _, d := range documents {
		if strings.HasPrefix(d.kind, "secretstores.") {
			r.store(d)
		}
	}
	for _, d := range documents {
		r.component(d)
	}
	r.faults.sort()
	r.out.Warnings.sort()
	if r.faults != nil {
		return Components{Warnings: r.out.Warnings}, r.faults
	}
	return r.out, nil
}

type componentReader struct {
	secret func(SecretRef) (string, error)
	stores map[string]SecretStore
	places map[string]string // of connections, by name
	faults Faults
	out    Components
}

// document is one component as its file has it.
type document struct {
	r              *componentReader
	file           string
	root           *yaml.Node
	name, kind     string
	store          string // auth.secretStore
	scopes         []*yaml.Node
	items          []item
	ignore         bool
	nameAt, kindAt *yaml.Node
}

// item is a name and a value of spec.metadata.
type item struct {
	name  string
	at    *yaml.Node // the name
	value *yaml.Node // nil where ref says where the value is
	ref   *SecretRef
	refAt *yaml.Node
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

func (r *componentReader) documents(f ComponentFile) (all []*document) {
	if len(f.Text) > MaxComponentFile {
		r.faults = append(r.faults, Fault{File: f.Name, Problem: fmt.Sprintf("it has %d bytes, at most %d are read", len(f.Text), MaxComponentFile), Next: "split it"})
		return nil
	}
	d := yaml.NewDecoder(bytes.NewReader(f.Text))
	for n := 0; ; n++ {
		var node yaml.Node
		err := d.Decode(&node)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			line := 0
			if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
				line, _ = strconv.Atoi(m[1])
			}
			problem := strings.TrimPrefix(yamlLine.ReplaceAllString(strings.TrimPrefix(err.Error(), "yaml: "), ""), ": ")
			r.faults = append(r.faults, Fault{File: f.Name, Line: line, Problem: "it is no YAML: " + problem, Next: "correct the line or the one before it"})
			return all
		}
		if n == maxComponents {
			r.faults = append(r.faults, Fault{File: f.Name, Line: node.Line, Problem: fmt.Sprintf("it has more than %d documents", maxComponents), Next: "split it"})
			return all
		}
		if len(node.Content) == 0 || isNull(node.Content[0]) {
			continue // an empty document, as after a last ---
		}
		if one := r.document(f.Name, node.Content[0]); one != nil {
			all = append(all, one)
		}
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

const componentForm = "write apiVersion: dapr.io/v1alpha1, kind: Component, metadata.name, spec.type and spec.metadata"

// document reads what all components have. nil: it is no component.
func (r *componentReader) document(file string, root *yaml.Node) *document {
	d := &document{r: r, file: file, root: root}
	top := d.object(root, "", "apiVersion", "kind", "metadata", "spec", "auth", "scopes")
	if top == nil {
		return nil
	}
	if kind := d.text(top["kind"], "kind"); kind != "Component" {
		if kind == "" {
			d.fault(root, "", "it does not say what it is", componentForm)
			return nil
		}
		d.warn(top["kind"], "kind", fmt.Sprintf("a %s is passed over: only components are read", short(kind)), "")
		return nil
	}
	if v := d.text(top["apiVersion"], "apiVersion"); v != "dapr.io/v1alpha1" {
		d.fault(or(top["apiVersion"], root), "apiVersion", "it is not dapr.io/v1alpha1", componentForm)
	}
	meta := d.object(top["metadata"], "metadata", "name", "namespace", "labels", "annotations", "creationTimestamp", "uid", "resourceVersion", "generation")
	d.nameAt = or(meta["name"], root)
	if d.name = d.text(meta["name"], "metadata.name"); d.name == "" {
		d.fault(d.nameAt, "metadata.name", "the component has no name", "name it: applications call it by that")
	}
	spec := d.object(top["spec"], "spec", "type", "version", "metadata", "ignoreErrors", "initTimeout")
	d.kindAt = or(spec["type"], root)
	if d.kind = d.text(spec["type"], "spec.type"); d.kind == "" {
		d.fault(d.kindAt, "spec.type", "the component has no type", "write bindings.redis or pubsub.redis")
	}
	if v := d.text(spec["version"], "spec.version"); v != "" && v != "v1" {
		d.fault(spec["version"], "spec.version", "there is no such version", "write v1")
	}
	d.ignore = d.text(spec["ignoreErrors"], "spec.ignoreErrors") == "true"
	if spec["initTimeout"] != nil {
		d.warn(spec["initTimeout"], "spec.initTimeout", "it has no effect: a server that does not answer is tried for as long as the platform runs", "leave it out")
	}
	auth := d.object(top["auth"], "auth", "secretStore")
	d.store = d.text(auth["secretStore"], "auth.secretStore")
	d.scopes = d.list(top["scopes"], "scopes")
	d.metadata(spec["metadata"])
	return d
}

func or(n, otherwise *yaml.Node) *yaml.Node {
	if n == nil {
		return otherwise
	}
	return n
}

func short(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "..."
	}
	return s
}

func (d *document) fault(at *yaml.Node, path, problem, next string) {
	d.r.faults = append(d.r.faults, Fault{File: d.file, Line: at.Line, Column: at.Column, Path: path, Problem: problem, Next: next})
}

func (d *document) warn(at *yaml.Node, path, problem, next string) {
	d.r.out.Warnings = append(d.r.out.Warnings, Fault{File: d.file, Line: at.Line, Column: at.Column, Path: path, Problem: problem, Next: next})
}

// plain follows an alias.
func plainNode(n *yaml.Node) *yaml.Node {
	for n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// object gives the values of a mapping. Names that it does not know are warnings, as Dapr passes over them; one that stands twice is a fault.
func (d *document) object(n *yaml.Node, path string, known ...string) map[string]*yaml.Node {
	n = plainNode(n)
	if n == nil || isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		d.fault(n, path, "it is not an object of names and values", componentForm)
		return nil
	}
	out := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], plainNode(n.Content[i+1])
		under := strings.TrimPrefix(path+"."+key.Value, ".")
		switch {
		case out[key.Value] != nil:
			d.fault(key, under, "it stands there twice", "remove one")
		case !slices.Contains(known, key.Value):
			d.warn(key, under, "it is not known"+nearest(key.Value, known), "")
		}
		out[key.Value] = value
	}
	return out
}

func nearest(name string, known []string) string {
	for _, k := range known {
		if strings.EqualFold(name, k) {
			return "; did you mean " + k + "?"
		}
	}
	if near, ok := tenants.Nearest(name, known); ok {
		return "; did you mean " + near + "?"
	}
	return ""
}

func (d *document) list(n *yaml.Node, path string) []*yaml.Node {
	n = plainNode(n)
	if n == nil || isNull(n) {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		d.fault(n, path, "it is not a list", componentForm)
		return nil
	}
	out := make([]*yaml.Node, len(n.Content))
	for i := range n.Content {
		out[i] = plainNode(n.Content[i])
	}
	return out
}

// text is a scalar as Dapr has it: YAML 1.1 becomes JSON, and JSON a string (dapr/dapr pkg/apis/common, DynamicValue.String).
func (d *document) text(n *yaml.Node, path string) string {
	s, ok := scalar(plainNode(n))
	if !ok {
		d.fault(n, path, "it is not a text", "write it in quotes")
	}
	return s
}

func scalar(n *yaml.Node) (text string, ok bool) {
	if n == nil {
		return "", true
	}
	if n.Kind != yaml.ScalarNode {
		return "", false
	}
	switch n.ShortTag() {
	case "!!null":
		return "", true
	case "!!bool":
		return strings.ToLower(n.Value), true
	case "!!int", "!!float":
		var v any
		if n.Decode(&v) != nil {
			return n.Value, true
		}
		b, err := json.Marshal(v)
		return string(b), err == nil
	case "!!str":
		if n.Style == 0 {
			switch strings.ToLower(n.Value) { // YAML 1.1
			case "yes", "on":
				return "true", true
			case "no", "off":
				return "false", true
			}
		}
	}
	return n.Value, true
}

// metadata reads spec.metadata: names with a value, or with the place of one.
func (d *document) metadata(n *yaml.Node) {
	for i, node := range d.list(n, "spec.metadata") {
		path := fmt.Sprintf("spec.metadata[%d]", i)
		fields := d.object(node, path, "name", "value", "secretKeyRef", "envRef")
		it := item{at: or(fields["name"], node), name: d.text(fields["name"], path+".name"), value: fields["value"]}
		if it.name == "" {
			d.fault(it.at, path, "it has no name", "")
			continue
		}
		given := 0
		for _, key := range []string{"value", "secretKeyRef", "envRef"} {
			if fields[key] != nil {
				given++
			}
		}
		if given > 1 {
			d.fault(it.at, "spec.metadata."+it.name, "it has more than one of value, secretKeyRef and envRef", "leave one")
		}
		if ref := d.object(fields["secretKeyRef"], "spec.metadata."+it.name+".secretKeyRef", "name", "key"); ref != nil {
			it.refAt = fields["secretKeyRef"]
			it.ref = &SecretRef{Store: SecretStore{Name: d.store}, Name: d.text(ref["name"], path), Key: d.text(ref["key"], path)}
			if it.ref.Key == "" {
				it.ref.Key = it.ref.Name
			}
			if it.ref.Name == "" {
				d.fault(it.refAt, "spec.metadata."+it.name, "secretKeyRef names no secret", "write name and key")
				continue
			}
		} else if env := d.text(fields["envRef"], path); env != "" {
			it.refAt, it.ref = fields["envRef"], &SecretRef{Env: env}
		}
		d.items = append(d.items, it)
	}
}

// store takes a secret store. Its own settings may come from the environment.
func (r *componentReader) store(d *document) {
	s := SecretStore{Name: d.name, Type: d.kind, Settings: map[string]string{}}
	for _, it := range d.items {
		if v, _, ok := d.value(it); ok {
			s.Settings[strings.ToLower(it.name)] = v
		}
	}
	r.stores[d.name] = s
}

// value is what an item says, and where that comes from.
func (d *document) value(it item) (text, from string, ok bool) {
	path := "spec.metadata." + it.name
	if it.ref == nil {
		text, ok = scalar(it.value)
		if !ok {
			d.fault(it.value, path, "it is neither text nor number nor true or false", "write it in quotes")
		}
		return text, "value", ok
	}
	ref := *it.ref
	if s, known := d.r.stores[ref.Store.Name]; known {
		ref.Store = s
	}
	if !slices.ContainsFunc(d.r.out.Refs, func(r SecretRef) bool { return r.String() == ref.String() }) {
		d.r.out.Refs = append(d.r.out.Refs, ref)
	}
	if d.r.secret == nil {
		d.fault(it.refAt, path, "nothing is known of "+ref.String(), "give the value beside the component")
		return "", "", false
	}
	text, err := d.r.secret(ref)
	if err != nil {
		d.fault(it.refAt, path, ref.String()+": "+err.Error(), "")
		return "", "", false
	}
	return text, ref.String(), true
}

// component reads one of the two types that there are.
func (r *componentReader) component(d *document) {
	switch {
	case d.kind == tenants.BindingComponent || d.kind == tenants.PubSubComponent:
	case strings.HasPrefix(d.kind, "secretstores."):
		return
	case d.kind != "":
		d.warn(d.kindAt, "spec.type", short(d.kind)+" is passed over: of Dapr's components bindings.redis and pubsub.redis are read"+
			nearest(d.kind, []string{tenants.BindingComponent, tenants.PubSubComponent}), "")
		return
	default:
		return
	}
	if d.name != "" && tenants.CheckName(d.name) != nil {
		d.fault(d.nameAt, "metadata.name", "it cannot be the name of a connection", "use 1 to 63 lower-case letters, digits and dashes, and begin and end with a letter or digit")
	}
	if at := r.places[d.name]; at != "" {
		d.fault(d.nameAt, "metadata.name", "there is a component of this name at "+at, "name one otherwise")
	}
	r.places[d.name] = fmt.Sprintf("%s:%d", d.file, d.nameAt.Line)
	before := len(r.faults)
	one := d.redis()
	if len(r.faults) == before {
		r.out.Redis = append(r.out.Redis, one)
	}
}
