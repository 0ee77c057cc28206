package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tenloom/tenloom/sandbox"
	"github.com/tenloom/tenloom/sandbox/outbound"
	"github.com/tenloom/tenloom/scheduler"
	"github.com/tenloom/tenloom/secrets/vault"
	"github.com/tenloom/tenloom/tenants"
)

// kindOf says what a setting holds. Its text is what errors call it.
type kindOf string

const (
	aText     kindOf = "a string"
	aNumber   kindOf = "a whole number"
	aSwitch   kindOf = "true or false"
	aDuration kindOf = `a duration such as "20s"`
	aList     kindOf = "a list of strings"
	anAddress kindOf = "the address of a Redis" // printed without its password
	aSecret   kindOf = "a secret"               // never printed, and no flag: others see a command line
)

// setting is one thing that the server can be told: the key in the file, in the environment as TENLOOM_ and the key in capitals with "_" for
// ".", and as a flag with "-" for both. A secret, and what may hold one, can stand in a file of its own, which the key with "_file" names.
type setting struct {
	key   string
	kind  kindOf
	none  string // the default
	usage string
	later bool // a reload does not change it
}

// settings are all that there are, apart from the Redis servers, of which there may be many.
var settings = append(ownSettings, vaultSettings...)

var ownSettings = []setting{
	{"listen", aText, "127.0.0.1:7070", "address of the API", true},
	{"state", aText, "", "directory for what outlives a run (default /var/lib/tenloom for root, else $XDG_STATE_HOME/tenloom)", true},
	{"drain_timeout", aDuration, "20s", "how long a stop waits for running handlers", false},
	{"seal_key_file", aText, "", "file with the key that secrets are sealed with (default: seal.key in the state directory, made at the first start)", true},
	{"tls.cert", aText, "", "PEM file of the certificate to serve with, and those above it; read again when it changes", false},
	{"tls.key", aText, "", "PEM file of that certificate's key", false},
	{"store.kind", aText, "file", "where the platform's resources are kept: file (in the state directory) or etcd", true},
	{"store.endpoints", aList, "", "etcd: addresses such as https://etcd-0:2379", true},
	{"store.prefix", aText, "", "etcd: before every key (default /tenloom/)", true},
	{"store.user", aText, "", "etcd: who logs in", true},
	{"store.password", aSecret, "", "etcd: and with what", true},
	{"store.ca", aText, "", "etcd: PEM file of the authority that issued its certificate (default: the system's)", true},
	{"store.cert", aText, "", "etcd: PEM file of the certificate to show", true},
	{"store.key", aText, "", "etcd: PEM file of that certificate's key", true},
	{"artifacts", aText, "", "where modules and files are kept: a URL of gocloud.dev/blob (default: a folder in the state directory)", true},
	{"registries.allowed", aList, "ghcr.io,docker.io", "OCI registries that applications may be deployed from: HOST or HOST:PORT; \"none\" for none", true},
	{"registries.credentials", aText, "", "file such as docker's config.json with logins there (default: as nobody); tenants can deploy whatever these can read", true},
	{"compile.time", aDuration, sandbox.DefaultCompileTime.String(), "limit of compile time, for each module", true},
	{"compile.apart", aSwitch, "true", "compile in a process with bounded memory", true},
	{"limits.slots", aNumber, "0", "invocations at once, over all tenants (default: 32 for each CPU)", true},
	{"limits.history", aNumber, "10000", "invocations that are remembered in memory, over all tenants", true},
	{"limits.invocations", aNumber, "100000", "invocations that are kept on disk, over all tenants; each takes about 100 bytes of memory", true},
	{"limits.invocations_mb", aNumber, "256", "MiB that these take on disk at most", true},
	{"metrics.tenants", aNumber, "100", "tenants with metrics of their own; the others are summed up as one", true},
	{"usage.days", aNumber, "400", "days for which the server keeps what tenants used", true},
	{"traces.slow", aDuration, "1s", "a handler that takes as long is traced whatever the sampler says", true},
	{"outbound.blocked", aList, "private", `networks that handlers cannot reach: CIDRs, and "private" for everything that is not public`, true},
	{"log.level", aText, "info", "debug, info, warn or error", false},
	{"log.format", aText, "", "text or json (default: text on a terminal, else json)", true},
	{"reset", aText, "", "how instances are made clean: see tenloom doctor (default: the best that works)", true},
}

// redisSettings are those of one Redis server; "*" stands for its name, which is "default" for the platform's own.
var redisSettings = []setting{
	{"redis.*.url", anAddress, "", "redis://, rediss://, redis+sentinel://HOST,HOST/MASTER, redis+cluster://HOST,HOST", true},
	{"redis.*.ca", aText, "", "PEM file of the authority that issued the server's certificate", true},
	{"redis.*.cert", aText, "", "PEM file of the certificate to show to the server", true},
	{"redis.*.key", aText, "", "PEM file of that certificate's key", true},
	{"redis.*.vault", aText, "", "path of Vault that gives user and password: database/creds/ROLE, database/static-creds/ROLE, secret/data/PATH#USER,PASSWORD", true},
}

// find returns the setting that a key names, with the key itself in place of the pattern; inFile says that the key names a file to read the
// value from.
func findSetting(key string) (s setting, inFile, ok bool) {
	for _, at := range []string{key, strings.TrimSuffix(key, "_file")} {
		if s, ok = exactSetting(at); ok {
			return s, at != key, at == key || s.kind == aSecret || s.kind == anAddress
		}
	}
	return s, false, false
}

func exactSetting(key string) (setting, bool) {
	for _, s := range settings {
		if s.key == key {
			return s, true
		}
	}
	parts := strings.Split(key, ".")
	if len(parts) != 3 || parts[0] != "redis" || tenants.CheckName(parts[1]) != nil {
		return setting{}, false
	}
	for _, s := range redisSettings {
		if s.key == "redis.*."+parts[2] {
			s.key = key
			return s, true
		}
	}
	return setting{}, false
}

func (s setting) env() string {
	return "TENLOOM_" + strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToUpper(s.key))
}
func (s setting) flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(s.key) }

// check holds a value against the setting's kind.
func (s setting) check(value string) error {
	switch s.kind {
	case aNumber:
		if n, err := strconv.Atoi(value); err != nil || n < 0 {
			return fmt.Errorf("want %s, have %q", aNumber, value)
		}
	case aSwitch:
		if _, err := strconv.ParseBool(value); err != nil {
			return fmt.Errorf("want %s, have %q", aSwitch, value)
		}
	case aDuration:
		if d, err := time.ParseDuration(value); err != nil || d <= 0 {
			return fmt.Errorf("want %s, have %q", aDuration, value)
		}
	}
	return s.checkNamed(value)
}

func (s setting) checkNamed(value string) error {
	choices := map[string][]string{
		"store.kind": {"file", "etcd"}, "log.level": {"debug", "info", "warn", "error"}, "log.format": {"text", "json"},
		"vault.auth": {vault.Token, vault.AppRole, vault.Kubernetes, vault.JWT},
	}[s.key]
	if choices != nil && value != "" && !slices.Contains(choices, value) {
		return fmt.Errorf("want %s, have %q%s", strings.Join(choices, " or "), value, didYouMean(value, choices))
	}
	switch s.key {
	case "listen":
		if _, port, err := net.SplitHostPort(value); err != nil || port == "" {
			return fmt.Errorf("%q is not an address to listen on; want HOST:PORT, such as 127.0.0.1:7070", value)
		}
	case "outbound.blocked":
		_, err := outbound.ParseNetworks(splitList(value))
		return err
	}
	return nil
}

func splitList(text string) (out []string) {
	for one := range strings.SplitSeq(text, ",") {
		if one = strings.TrimSpace(one); one != "" {
			out = append(out, one)
		}
	}
	return out
}

// given is the value of a setting and where it comes from: "default", "file:line", "$VARIABLE" or "--flag".
type given struct {
	setting
	value, source string
}

// configuration is what the server was told, in the order of settings, with the Redis servers behind them by name.
type configuration struct {
	file   string // that was read; "" none
	values map[string]given
	notes  []string // what may be a slip and is no error
}

func (c *configuration) text(key string) string { return c.values[key].value }
func (c *configuration) list(key string) []string {
	return splitList(c.values[key].value)
}

// number, duration and on read values that check has seen.
func (c *configuration) number(key string) int {
	n, _ := strconv.Atoi(c.text(key))
	return n
}

func (c *configuration) duration(key string) time.Duration {
	d, _ := time.ParseDuration(c.text(key))
	return d
}

func (c *configuration) on(key string) bool {
	b, _ := strconv.ParseBool(c.text(key))
	return b
}

func (c *configuration) level() slog.Level {
	var l slog.Level
	l.UnmarshalText([]byte(c.text("log.level"))) // checked
	return l
}

// redisNames lists the Redis servers.
func (c *configuration) redisNames() (names []string) {
	for key := range c.values {
		if parts := strings.Split(key, "."); len(parts) == 3 && parts[0] == "redis" && !slices.Contains(names, parts[1]) {
			names = append(names, parts[1])
		}
	}
	slices.Sort(names)
	return names
}

// ordered lists everything that has a value or a default.
func (c *configuration) ordered() (all []given) {
	for _, s := range settings {
		all = append(all, c.values[s.key])
	}
	for _, name := range c.redisNames() {
		for _, s := range redisSettings {
			if g, ok := c.values[strings.Replace(s.key, "*", name, 1)]; ok {
				all = append(all, g)
			}
		}
	}
	return all
}

// redis reads how to reach one of the Redis servers.
func (c *configuration) redis(name string) redisFlags {
	at := "redis." + name + "."
	return redisFlags{url: c.text(at + "url"), ca: c.text(at + "ca"), cert: c.text(at + "cert"), key: c.text(at + "key")}
}

// consistent finds what no single value shows. Each fault names the keys.
func (c *configuration) consistent() (faults []string) {
	say := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if (c.text("tls.cert") == "") != (c.text("tls.key") == "") {
		say("tls.cert and tls.key: one is given without the other\n  give both, or neither for plain HTTP")
	}
	etcd := c.text("store.kind") == "etcd"
	if etcd && len(c.list("store.endpoints")) == 0 {
		say("store.endpoints: the store is etcd, and no address of it is given\n  store.endpoints = [\"https://etcd-0:2379\"]")
	}
	for _, key := range []string{"store.endpoints", "store.prefix", "store.user", "store.password", "store.ca", "store.cert", "store.key"} {
		if !etcd && c.text(key) != "" {
			say("%s: it is for etcd, and store.kind is %q (%s)\n  set store.kind = \"etcd\", or leave it out", key, c.text("store.kind"), c.values[key].source)
		}
	}
	names := c.redisNames()
	if !slices.Contains(names, string(tenants.DefaultEndpoint)) {
		say("redis.default.url: no Redis is named for the platform\n  --redis redis://127.0.0.1:6379, TENLOOM_REDIS, or in the file: [redis.default] url = \"...\"")
	}
	for _, name := range names {
		given := c.redis(name)
		if given.url == "" {
			say("redis.%s.url: the server has no address", name)
			continue
		}
		if _, err := given.parse(); err != nil {
			say("redis.%s: %v (%s)", name, err, c.values["redis."+name+".url"].source)
		}
	}
	return append(faults, c.vaultFaults()...)
}

// stateDirectory is where the server keeps things.
func (c *configuration) stateDirectory() string {
	if dir := c.text("state"); dir != "" {
		return dir
	}
	if os.Geteuid() == 0 {
		return "/var/lib/tenloom"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "tenloom")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ".tenloom"
	}
	return filepath.Join(home, ".local", "state", "tenloom")
}

// slots is the scheduler's own default where nothing is said.
func (c *configuration) scheduler() scheduler.Config {
	return scheduler.Config{Slots: c.number("limits.slots")}
}
