package manifest

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tenloom/tenloom/tenants"
)

// settings are the fields of a component that were given, read.
type settings struct {
	d      *document
	values map[*ComponentField]fieldValue
	at     map[*ComponentField]*yaml.Node
	fields map[string]string // for people: masked, with their origin
}

func (s *settings) of(name string) fieldValue { return s.values[componentField(name)] }

func (s *settings) given(name string) bool {
	_, ok := s.values[componentField(name)]
	return ok
}

func (s *settings) where(name string) *yaml.Node {
	return or(s.at[componentField(name)], s.d.root)
}

func (s *settings) fault(name, problem, next string) {
	s.d.fault(s.where(name), "spec.metadata."+name, problem, next)
}

func (s *settings) warn(name, problem, next string) {
	s.d.warn(s.where(name), "spec.metadata."+name, problem, next)
}

const shownValue = 120 // bytes of a value that people are shown

// redis reads the component's fields, and makes a connection of them.
func (d *document) redis() RedisComponent {
	s := &settings{d: d, values: map[*ComponentField]fieldValue{}, at: map[*ComponentField]*yaml.Node{}, fields: map[string]string{}}
	for _, it := range d.items {
		s.take(it)
	}
	s.defaults()
	return s.component()
}

// take reads one item. What has no effect is said, and wrong values of it are not.
func (s *settings) take(it item) {
	d := s.d
	f := componentField(it.name)
	path := "spec.metadata." + it.name
	if f == nil {
		d.warn(it.at, path, "it is not known, and Dapr would pass over it in silence"+nearest(it.name, componentFieldNames), "")
		return
	}
	path = "spec.metadata." + f.Name
	text, from, ok := d.value(it)
	if !ok {
		return
	}
	if s.at[f] != nil {
		d.warn(it.at, path, "it stands there twice; the last one holds", "remove one")
	}
	s.at[f] = it.at
	s.fields[f.Name] = shown(f, text) + " (" + from + ")"
	switch {
	case f.NoEffect != "":
		d.warn(it.at, path, "it has no effect: "+f.NoEffect, "leave it out")
		return
	case d.kind == tenants.BindingComponent && !f.Binding:
		d.warn(it.at, path, "it has no effect: "+onlyPubSub, "leave it out")
		return
	}
	v, err := f.read(text)
	if err != nil {
		d.fault(or(it.value, it.at), path, err.Error(), "it takes "+article(f)+", or leave it out"+standing(f))
		return
	}
	if f.form == textForm && strings.Contains(text, "{") && !f.Secret {
		for _, tag := range []string{"{uuid}", "{podName}", "{namespace}", "{appID}"} {
			if strings.Contains(text, tag) {
				d.fault(or(it.value, it.at), path, tag+" is not replaced here: one connection serves all applications and nodes", "write a name")
			}
		}
	}
	s.values[f] = v
}

func article(f *ComponentField) string {
	switch f.form {
	case boolForm:
		return "true or false"
	case intForm:
		return "a number"
	case portForm:
		return "a port"
	}
	return "a time, such as 500 or 500ms"
}

func standing(f *ComponentField) string {
	if f.Default == "" {
		return ""
	}
	return " for " + f.Default
}

func shown(f *ComponentField, text string) string {
	switch {
	case f.Secret:
		return "********"
	case strings.HasPrefix(text, "-----BEGIN"):
		return "PEM"
	case len(text) > shownValue:
		return strings.ToValidUTF8(text[:shownValue], "") + "..."
	}
	return text
}

// defaults fills in what nothing is said of, by Dapr's documented defaults. 0 says nothing, but of what a stream's consumers do.
func (s *settings) defaults() {
	set := func(name string, v fieldValue, text string) {
		f := componentField(name)
		if have := s.values[f]; s.d.kind == tenants.BindingComponent && !f.Binding || have.number != 0 || have.time != 0 {
			return
		}
		s.values[f] = v
		if s.at[f] == nil {
			s.fields[name] = text + " (default)"
		}
	}
	span := func(name string, d time.Duration) { set(name, fieldValue{time: d}, d.String()) }
	count := func(name string, n int) { set(name, fieldValue{number: int64(n)}, strconv.Itoa(n)) }
	count("redisMaxRetries", 3)
	span("redisMinRetryInterval", 8*time.Millisecond)
	span("redisMaxRetryInterval", 512*time.Millisecond)
	span("dialTimeout", 5*time.Second)
	span("readTimeout", 3*time.Second)
	span("writeTimeout", s.of("readTimeout").time)
	if t := s.of("readTimeout").time; t > 0 {
		span("poolTimeout", t+time.Second)
	}
	span("poolTimeout", 30*time.Second)
	count("poolSize", 10*runtime.GOMAXPROCS(0))
	span("idleTimeout", 5*time.Minute)
	count("queueDepth", 100)
	count("concurrency", 10)
	for name, d := range map[string]time.Duration{"processingTimeout": time.Minute, "redeliverInterval": 15 * time.Second} {
		if !s.given(name) {
			span(name, d)
		}
	}
	for _, name := range []string{"enableTLS", "insecureSkipTLSVerify", "failover", "useEntraID", "useOIDC", "redisDB", "redisType"} {
		if f := componentField(name); s.at[f] == nil {
			s.fields[name] = f.Default + " (default)"
		}
	}
}

// longest is what stands for "none" where tenloom bounds a time.
const longest = 5 * time.Minute

func bounded(d time.Duration) time.Duration {
	if d < 0 || d > longest {
		return longest
	}
	return d
}

// component makes a connection of the fields.
func (s *settings) component() RedisComponent {
	d := s.d
	s.refuse()
	one := RedisComponent{File: d.file, Line: d.nameAt.Line, Optional: d.ignore}
	one.Login = RedisLogin{User: s.of("redisUsername").text, Password: s.of("redisPassword").text}
	if one.Login.User != "" && one.Login.Password == "" {
		s.fault("redisUsername", "a user without a password cannot log in", "give redisPassword, too")
	}
	t := &tenants.Tuning{
		Kind: d.kind, ServerName: s.of("serverName").text, Insecure: s.of("insecureSkipTLSVerify").on, Certificate: s.of("clientCert").text,
		Retries:    int(s.of("redisMaxRetries").number),
		MinBackoff: s.of("redisMinRetryInterval").time, MaxBackoff: s.of("redisMaxRetryInterval").time,
		DialTimeout: bounded(s.of("dialTimeout").time), ReadTimeout: bounded(s.of("readTimeout").time), WriteTimeout: bounded(s.of("writeTimeout").time),
		PoolTimeout: bounded(s.of("poolTimeout").time), PoolSize: int(s.of("poolSize").number), MinIdle: int(s.of("minIdleConns").number),
		MaxAge: max(0, s.of("maxConnAge").time), IdleTimeout: s.of("idleTimeout").time, Apps: s.apps(), Fields: s.fields,
	}
	if d.kind == tenants.PubSubComponent {
		t.Group, t.ProcessingTimeout, t.RedeliverInterval = s.of("consumerID").text, s.of("processingTimeout").time, s.of("redeliverInterval").time
		t.QueueDepth, t.Concurrency = int(s.of("queueDepth").number), int(s.of("concurrency").number)
		t.MaxLen, t.StreamTTL = s.of("maxLenApprox").number, s.of("streamTTL").time
	}
	for _, n := range []struct {
		name        string
		least, most int64
	}{{"poolSize", 1, 1000}, {"minIdleConns", 0, s.of("poolSize").number}, {"redisDB", 0, 1 << 20}, {"redisMaxRetries", -1 << 31, 100}, {"queueDepth", 1, 100_000},
		{"concurrency", 1, 1000}, {"maxLenApprox", 0, 1 << 62}} {
		if v := s.of(n.name).number; s.given(n.name) && (v < n.least || v > n.most) {
			s.fault(n.name, fmt.Sprintf("%d is not between %d and %d", v, n.least, n.most), "")
		}
	}
	for _, name := range []string{"processingTimeout", "redeliverInterval", "streamTTL"} {
		if s.of(name).time < 0 {
			s.fault(name, "it is less than nothing", "write 0 to have none")
		}
	}
	if t.MaxLen > 0 && t.StreamTTL > 0 {
		s.warn("streamTTL", "maxLenApprox is given, too, and holds alone", "leave one out")
		t.StreamTTL = 0
	}
	one.Login.Keys = s.keys()
	one.Connection = tenants.Connection{Name: d.name, Address: s.address(), CA: s.of("caCert").text, Tuning: t}
	return one
}

// refuse says what is not offered, and what goes without an effect beside something else.
func (s *settings) refuse() {
	if s.of("useEntraID").on {
		s.fault("useEntraID", "tokens of Microsoft Entra ID are not offered", "use an access key or an ACL user: redisUsername and redisPassword")
	}
	if s.of("useOIDC").on {
		s.fault("useOIDC", "tokens of an OpenID provider are not offered", "use an ACL user: redisUsername and redisPassword")
	}
	secure := s.of("enableTLS").on
	for _, name := range []string{"insecureSkipTLSVerify", "clientCert", "clientKey", "caCert", "serverName"} {
		if v := s.of(name); !secure && (v.on || v.text != "" && name != "insecureSkipTLSVerify") {
			s.warn(name, "it has no effect: enableTLS is not true", "set enableTLS to true")
		}
	}
	if !secure {
		for _, name := range []string{"insecureSkipTLSVerify", "clientCert", "clientKey", "caCert", "serverName"} {
			delete(s.values, componentField(name))
		}
	}
	if (s.of("clientCert").text == "") != (s.of("clientKey").text == "") {
		s.fault("clientCert", "a certificate and its key come together, one is missing", "give clientCert and clientKey, or neither")
	}
	if s.of("insecureSkipTLSVerify").on {
		if s.of("caCert").text+s.of("serverName").text != "" {
			s.fault("insecureSkipTLSVerify", "it takes any certificate, and caCert or serverName say which", "leave it out")
		}
		s.warn("insecureSkipTLSVerify", "whoever is on the way to the server can read and change everything", "give caCert instead")
	}
	failover := s.of("failover").on
	for _, name := range []string{"sentinelMasterName", "sentinelUsername", "sentinelPassword"} {
		if !failover && s.of(name).text != "" {
			s.warn(name, "it has no effect: failover is not true", "set failover to true")
			delete(s.values, componentField(name))
		}
	}
	if failover && s.of("sentinelMasterName").text == "" {
		s.fault("failover", "it does not say which master the Sentinels are to name", "give sentinelMasterName")
	}
	switch kind := s.of("redisType").text; {
	case kind != "" && kind != "node" && kind != "cluster":
		s.fault("redisType", short(strconv.Quote(kind))+" is neither node nor cluster"+nearest(kind, []string{"node", "cluster"}), "")
	case kind == "cluster" && failover:
		s.fault("failover", "a cluster fails over by itself, without Sentinels", "leave failover out, or redisType")
	case kind == "cluster" && s.of("redisDB").number != 0:
		s.warn("redisDB", "it has no effect: a cluster has database 0 alone", "leave it out")
		delete(s.values, componentField("redisDB"))
	}
}

func (s *settings) keys() tenants.LoginKeys {
	return tenants.LoginKeys{SentinelUser: s.of("sentinelUsername").text, SentinelPassword: s.of("sentinelPassword").text, ClientKey: s.of("clientKey").text}
}

// address is the URL of redisHost and what says what is there.
func (s *settings) address() string {
	var hosts []string
	raw := s.of("redisHost").text
	if strings.TrimSpace(raw) == "" {
		s.fault("redisHost", "it names no host", "write host:port")
		return ""
	}
	for _, host := range strings.Split(raw, ",") {
		if host = strings.TrimSpace(host); host == "" {
			continue
		}
		full, problem := s.host(host)
		if problem != "" {
			s.fault("redisHost", problem, "write host:port, or host,host for a cluster or Sentinels")
			return ""
		}
		hosts = append(hosts, full)
	}
	scheme, cluster := "redis", s.of("redisType").text == "cluster"
	if s.of("enableTLS").on {
		scheme = "rediss"
	}
	tail := ""
	if db := s.of("redisDB").number; db > 0 {
		tail = fmt.Sprintf("/%d", db)
	}
	switch {
	case s.of("failover").on:
		scheme, tail = scheme+"+sentinel", "/"+s.of("sentinelMasterName").text+tail
	case cluster:
		scheme += "+cluster"
	case len(hosts) > 1:
		s.fault("redisHost", fmt.Sprintf("it names %d hosts and does not say what they are", len(hosts)), "set redisType to cluster, or failover to true")
	}
	return scheme + "://" + strings.Join(hosts, ",") + tail
}

// host gives a host its port: its own, redisPort, or 6379.
func (s *settings) host(host string) (full, problem string) {
	if strings.Contains(host, "://") || strings.Contains(host, "/") || strings.Contains(host, "@") {
		return "", "it is no host: neither a URL nor a path nor a user has a place there"
	}
	standing := "6379"
	if port := s.of("redisPort").number; port > 0 {
		standing = strconv.FormatInt(port, 10)
	}
	bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if ip, err := netip.ParseAddr(bare); err == nil {
		return net.JoinHostPort(ip.String(), standing), ""
	}
	name, port, err := net.SplitHostPort(host)
	switch {
	case err != nil && !strings.Contains(host, ":"):
		return net.JoinHostPort(host, standing), ""
	case err != nil || name == "":
		return "", short(strconv.Quote(host)) + " is no host"
	case s.of("redisPort").number > 0 && port != standing:
		return "", fmt.Sprintf("%s has a port, and redisPort says %s", short(strconv.Quote(host)), standing)
	}
	return net.JoinHostPort(name, port), ""
}

// apps are the component's scopes.
func (s *settings) apps() (all []tenants.AppName) {
	for i, n := range s.d.scopes {
		name, ok := scalar(n)
		if !ok || tenants.CheckName(name) != nil {
			s.d.fault(n, fmt.Sprintf("scopes[%d]", i), "it is no name of an application", "use lower-case letters, digits and inner dashes")
			continue
		}
		all = append(all, tenants.AppName(name))
	}
	return all
}
