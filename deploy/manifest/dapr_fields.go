package manifest

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// valueForm is how Dapr reads the value of a field (dapr/kit config/decode.go, components-contrib common/component/redis/settings.go).
type valueForm uint8

const (
	textForm     valueForm = iota
	boolForm               // strconv.ParseBool
	intForm                // a decimal number
	portForm               // a decimal number to 65535
	clientForm             // a duration of the client: a bare number is milliseconds, a bare negative one, as -1, none; or a duration such as 5s
	durationForm           // a duration: a bare number is milliseconds, negative ones too; or a duration such as 5s
)

var formNames = []string{"text", "true or false", "number", "port", "time of the client", "time"}

// ComponentField is a field of spec.metadata.
type ComponentField struct {
	Name     string
	Default  string // what holds where nothing is said; "" none
	Binding  bool   // it has an effect in bindings.redis
	PubSub   bool   // it has an effect in pubsub.redis
	Secret   bool   // its value is not shown
	NoEffect string // why it has none, where a value given to it changes nothing
	Dapr     string // what Dapr does that one would not expect, and what tenloom does instead; "" the same as one expects
	form     valueForm
}

// Form is what kind of value the field takes.
func (f *ComponentField) Form() string { return formNames[f.form] }

const (
	noV9       = "Dapr's client for Redis 7 and later has no such option, and neither has tenloom's: idle sockets are closed when they are due"
	onlyPubSub = "it is for pubsub.redis alone; in a binding neither Dapr nor tenloom does anything with it"
	onState    = "it is for state stores alone"
	oidcPart   = "it takes useOIDC, which is not offered"
)

// ComponentFields are all fields of spec.metadata that Dapr reads for Redis, and tenloom's own: caCert and serverName.
var ComponentFields = []ComponentField{
	{Name: "redisHost", Binding: true, PubSub: true, form: textForm, Dapr: "empty: Dapr dials localhost:6379; tenloom asks for a host, because on a platform localhost is somebody else's"},
	{Name: "redisPort", Binding: true, PubSub: true, form: portForm},
	{Name: "redisUsername", Binding: true, PubSub: true, form: textForm, Dapr: "a user without a password: Dapr logs in with an empty one; tenloom says so before"},
	{Name: "redisPassword", Binding: true, PubSub: true, Secret: true, form: textForm},
	{Name: "sentinelUsername", Binding: true, PubSub: true, form: textForm, Dapr: "without failover Dapr passes over it; tenloom warns"},
	{Name: "sentinelPassword", Binding: true, PubSub: true, Secret: true, form: textForm, Dapr: "without failover Dapr passes over it; tenloom warns"},
	{Name: "useEntraID", Default: "false", Binding: true, PubSub: true, form: boolForm, Dapr: "true: Dapr asks Azure for a token; tenloom does not offer that and refuses it"},
	{Name: "useAzureAD", NoEffect: "Dapr declares it as another name of useEntraID and reads it nowhere; write useEntraID", form: boolForm},
	{Name: "useOIDC", Default: "false", Binding: true, PubSub: true, form: boolForm, Dapr: "true: Dapr asks a token endpoint; tenloom does not offer that and refuses it"},
	{Name: "oidcTokenEndpoint", NoEffect: oidcPart}, {Name: "oidcClientID", NoEffect: oidcPart},
	{Name: "oidcClientAssertionCert", NoEffect: oidcPart}, {Name: "oidcClientAssertionKey", NoEffect: oidcPart, Secret: true},
	{Name: "oidcResource", NoEffect: oidcPart}, {Name: "oidcAudience", NoEffect: oidcPart}, {Name: "oidcScopes", NoEffect: oidcPart},
	{Name: "oidcKid", NoEffect: oidcPart}, {Name: "oidcCACert", NoEffect: oidcPart},
	{Name: "enableTLS", Default: "false", Binding: true, PubSub: true, form: boolForm, Dapr: "Dapr before 1.18 verified no certificate; tenloom verifies unless insecureSkipTLSVerify says otherwise"},
	{Name: "insecureSkipTLSVerify", Default: "false", Binding: true, PubSub: true, form: boolForm, Dapr: "without enableTLS Dapr passes over it; tenloom warns"},
	{Name: "clientCert", Binding: true, PubSub: true, form: textForm, Dapr: "without clientKey Dapr passes over it; tenloom refuses half a pair"},
	{Name: "clientKey", Binding: true, PubSub: true, Secret: true, form: textForm, Dapr: "without clientCert Dapr passes over it; tenloom refuses half a pair"},
	{Name: "caCert", Binding: true, PubSub: true, form: textForm, Dapr: "Dapr has no such field: a private authority has to be in the system's store"},
	{Name: "serverName", Binding: true, PubSub: true, form: textForm, Dapr: "Dapr has no such field: the name in the certificate has to be the host's"},
	{Name: "failover", Default: "false", Binding: true, PubSub: true, form: boolForm, Dapr: "with redisType cluster Dapr asks Sentinels for a cluster's nodes; tenloom refuses that: a cluster fails over by itself"},
	{Name: "sentinelMasterName", Binding: true, PubSub: true, form: textForm, Dapr: "empty with failover: Dapr fails at its first command; tenloom says so before"},
	{Name: "redisType", Default: "node", Binding: true, PubSub: true, form: textForm, Dapr: "anything but cluster is one node to Dapr; tenloom refuses what is neither, because a typo would talk to a cluster's first node alone"},
	{Name: "redisDB", Default: "0", Binding: true, PubSub: true, form: intForm, Dapr: "with a cluster Dapr passes over it; tenloom warns"},
	{Name: "redisMaxRetries", Default: "3", Binding: true, PubSub: true, form: intForm, Dapr: "Dapr sends every command again, an increment too, which then counts twice; tenloom sends again what may be done twice, and the rest where it never left"},
	{Name: "redisMinRetryInterval", Default: "8ms", Binding: true, PubSub: true, form: clientForm},
	{Name: "redisMaxRetryInterval", Default: "512ms", Binding: true, PubSub: true, form: clientForm},
	{Name: "dialTimeout", Default: "5s", Binding: true, PubSub: true, form: clientForm},
	{Name: "readTimeout", Default: "3s", Binding: true, PubSub: true, form: clientForm, Dapr: "-1: Dapr waits for ever; tenloom for 5 minutes, and a call of the API for 30 seconds in all"},
	{Name: "writeTimeout", Default: "readTimeout", Binding: true, PubSub: true, form: clientForm, Dapr: "-1: as readTimeout"},
	{Name: "poolSize", Default: "10 for each processor", Binding: true, PubSub: true, form: intForm, Dapr: "tenloom opens at most 1000"},
	{Name: "poolTimeout", Default: "readTimeout + 1s", Binding: true, PubSub: true, form: clientForm},
	{Name: "maxConnAge", Default: "0", Binding: true, PubSub: true, form: clientForm},
	{Name: "minIdleConns", Default: "0", Binding: true, PubSub: true, form: intForm},
	{Name: "idleCheckFrequency", Default: "1m", NoEffect: noV9, form: clientForm},
	{Name: "idleTimeout", Default: "5m", Binding: true, PubSub: true, form: clientForm, Dapr: "nothing said: Dapr's client for Redis 7 has 30m, its page says 5m; tenloom has what the page says"},
	{Name: "ttlInSeconds", NoEffect: onState, form: intForm},
	{Name: "queryIndexes", NoEffect: onState, form: textForm},
	{Name: "consumerID", Default: "the application", PubSub: true, form: textForm},
	{Name: "redeliverInterval", Default: "15s", PubSub: true, form: durationForm, Dapr: "Dapr to 1.18.4 passes over a duration such as 30s and reads milliseconds alone; tenloom reads both"},
	{Name: "processingTimeout", Default: "60s", PubSub: true, form: durationForm, Dapr: "negative: Dapr takes every entry at once; tenloom refuses it"},
	{Name: "queueDepth", Default: "100", PubSub: true, form: intForm},
	{Name: "concurrency", Default: "10", PubSub: true, form: intForm},
	{Name: "maxLenApprox", Default: "0", PubSub: true, form: intForm},
	{Name: "streamTTL", Default: "0", PubSub: true, form: durationForm, Dapr: "30d, as Dapr's page writes it, is an error there; tenloom reads days"},
}

var componentFieldNames = func() []string {
	names := make([]string, len(ComponentFields))
	for i, f := range ComponentFields {
		names[i] = f.Name
	}
	return names
}()

func componentField(name string) *ComponentField {
	for i := range ComponentFields {
		if strings.EqualFold(ComponentFields[i].Name, name) {
			return &ComponentFields[i]
		}
	}
	return nil
}

// value is what a field says.
type fieldValue struct {
	text   string
	on     bool
	number int64
	time   time.Duration // negative: none
}

var errNone = errors.New("it is empty")

// read reads a value by Dapr's rules.
func (f *ComponentField) read(text string) (v fieldValue, err error) {
	v.text = text
	switch f.form {
	case boolForm:
		if text == "" {
			return v, errNone
		}
		if v.on, err = strconv.ParseBool(text); err != nil {
			return v, errors.New("it is neither true nor false")
		}
	case intForm:
		if text == "" {
			return v, errNone
		}
		if v.number, err = strconv.ParseInt(text, 10, 64); err != nil || v.number > math.MaxInt32 && f.Name != "maxLenApprox" {
			return v, errors.New("it is no number, or too large a one")
		}
	case portForm:
		port, err := strconv.ParseUint(text, 10, 16)
		if text == "" {
			return v, errNone
		}
		if err != nil {
			return v, errors.New("it is no port: a number from 1 to 65535")
		}
		v.number = int64(port)
	case clientForm, durationForm:
		return f.readTime(text)
	}
	return v, nil
}

func (f *ComponentField) readTime(text string) (v fieldValue, err error) {
	v.text = text
	if text == "" {
		return v, errNone
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		switch {
		case n > int64(365*24*time.Hour/time.Millisecond):
			return v, errors.New("it is longer than a year")
		case n < 0 && f.form == clientForm:
			v.time = -1
		default:
			v.time = time.Duration(n) * time.Millisecond
		}
		return v, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok && f.form == durationForm {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			v.time = time.Duration(n) * 24 * time.Hour
			return v, nil
		}
	}
	if v.time, err = time.ParseDuration(text); err != nil {
		return v, errors.New("it is no time: write milliseconds as a number, or a duration such as 500ms or 5s")
	}
	if v.time < 0 {
		return v, fmt.Errorf("%s is less than nothing; for none write -1, without a unit", text)
	}
	return v, nil
}
