package vault

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Statement is the creation statement of a dynamic role for a tenant's user: the arguments of ACL SETUSER as a JSON list
// (https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/). Redis compares the name of a pattern with those allowed as text, so
// every pattern that is subscribed to stands there itself, beside the one that covers the tenant's channels. -@dangerous stands behind all
// that gives commands, because +@write has FLUSHALL in it.
//
// control is the beginning of the channels that tenloom's own connections hold, for heartbeats and for moving without a loss.
func Statement(tenant, control string, patterns []string) string {
	return creates(append([]string{tenant + ":*", control + "*"}, patterns...), "~"+tenant+":*", "~tenloom:kv:"+tenant+"/*")
}

// OwnStatement is Statement for a Redis that is the tenant's alone: names are the channels and patterns that are subscribed to there, all where none
// are given, and every key is the tenant's.
func OwnStatement(control string, names []string) string {
	if len(names) == 0 {
		names = []string{"*"}
	}
	return creates(append([]string{control + "*"}, names...), "~*")
}

func creates(channels []string, keys ...string) string {
	rules := []string{"resetchannels"}
	for _, channel := range channels {
		if rule := "&" + channel; !slices.Contains(rules, rule) {
			rules = append(rules, rule)
		}
	}
	rules = append(rules, keys...)
	rules = append(rules, "+@read", "+@write", "+@pubsub", "+@connection", "+@transaction", "+xgroup", "-@dangerous")
	text, _ := json.Marshal(rules) // strings always are
	return strings.NewReplacer(`\u0026`, "&", `\u003c`, "<", `\u003e`, ">").Replace(string(text))
}

// CheckStatement says what is wrong with a dynamic role's creation statements for a subscriber, nothing where all is well. It names no value.
func CheckStatement(statements []string) (faults []string) {
	say := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if len(statements) == 0 {
		return []string{`there is no creation statement, and the plugin's own, ["~*", "+@read"], has no channel`}
	}
	if len(statements) > 1 {
		say("there are %d creation statements, and the plugin takes the first alone", len(statements))
	}
	var rules []string
	if json.Unmarshal([]byte(statements[0]), &rules) != nil {
		return append(faults, `the creation statement is no JSON list of strings, such as ["resetchannels","&acme:*","+@pubsub"]`)
	}
	var channels, subscribe, all bool
	for _, rule := range rules {
		rule = strings.ToLower(rule)
		switch {
		case strings.HasPrefix(rule, "&"), rule == "allchannels":
			channels = true
		case rule == "resetchannels":
			channels = false
		case rule == "+@all", rule == "allcommands", rule == "+@pubsub", rule == "+subscribe":
			subscribe, all = true, all || rule == "+@all"
		case rule == "-@all", rule == "nocommands", rule == "-@pubsub", rule == "-subscribe":
			subscribe = false
		}
		if given := strings.HasPrefix(rule, "+@"); given && slices.ContainsFunc(rules, func(r string) bool { return strings.EqualFold(r, "-@dangerous") }) {
			if last(rules, rule) > last(rules, "-@dangerous") && rule != "+@pubsub" && rule != "+@connection" {
				say("%s stands behind -@dangerous and gives dangerous commands back, FLUSHALL among them", rule)
			}
		}
	}
	if !channels {
		say("it allows no channel; it cannot subscribe: add &TENANT:*")
	}
	if !subscribe {
		say("it does not allow SUBSCRIBE; add +@pubsub")
	}
	if all && last(rules, "-@dangerous") < 0 {
		say("+@all without -@dangerous behind it allows FLUSHALL and ACL")
	}
	return faults
}

// last is where a rule stands for the last time, -1 where it does not.
func last(rules []string, rule string) int {
	for i := len(rules) - 1; i >= 0; i-- {
		if strings.EqualFold(rules[i], rule) {
			return i
		}
	}
	return -1
}
