package main

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tenloom/tenloom/tenants/endpoint"
)

// doctorWait bounds each question to the Redis server.
const doctorWait = 5 * time.Second

// redisFindings ask a server who it is and what it lets us do. What it does not tell is a note: only one that does not answer is of no use.
func redisFindings(ctx context.Context, o *endpoint.Options) []finding {
	endpoint.LogTo(slog.New(slog.DiscardHandler)) // the findings say it
	client := o.Client(nil)
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, 4*doctorWait)
	defer cancel()
	if err := client.Ping(ctx).Err(); err != nil {
		return []finding{{"redis", statusFail, fmt.Sprintf("%s does not answer: %v", o, err), "start it, or correct --redis; without --redis tenloom brings its own"}}
	}
	all := []finding{{"redis", statusOK, o.String() + " answers", ""}}
	all = append(all, helloFinding(ctx, client), userFinding(ctx, client), bufferFinding(ctx, client))
	for _, w := range o.Warnings() {
		all = append(all, finding{"redis", statusNote, w, ""})
	}
	return all
}

// helloFinding asks for version and protocol (HELLO without a version changes nothing, https://redis.io/docs/latest/commands/hello/).
func helloFinding(ctx context.Context, client redis.UniversalClient) finding {
	answer, err := client.Do(ctx, "HELLO").Result()
	if err != nil {
		return finding{"redis version", statusNote, "not told: " + err.Error(), "Redis before version 6 is not supported; an ACL user needs +hello"}
	}
	fields := fieldsOf(answer)
	return finding{"redis version", statusOK, fmt.Sprintf("%v %v, RESP %v, %v, %v", fields["server"], fields["version"], fields["proto"], fields["mode"], fields["role"]), ""}
}

// fieldsOf reads a map as either protocol gives it.
func fieldsOf(answer any) map[string]any {
	fields := map[string]any{}
	switch a := answer.(type) {
	case map[any]any:
		for k, v := range a {
			fields[fmt.Sprint(k)] = v
		}
	case []any:
		for k := 0; k+1 < len(a); k += 2 {
			fields[fmt.Sprint(a[k])] = a[k+1]
		}
	}
	return fields
}

func userFinding(ctx context.Context, client redis.UniversalClient) finding {
	name, err := client.Do(ctx, "ACL", "WHOAMI").Text()
	if err != nil {
		return finding{"redis user", statusNote, "not told: " + err.Error(), ""}
	}
	return finding{"redis user", statusOK, name, ""}
}

// lowBuffer is the hard limit in bytes below which a burst ends a subscriber's connection: Redis' default.
const lowBuffer = 32 << 20

// bufferFinding reads how much a subscriber may lag behind before the server hangs up: "class hard soft seconds" of each class.
func bufferFinding(ctx context.Context, client redis.UniversalClient) finding {
	const check, name = "redis output buffer", "client-output-buffer-limit"
	answer, err := client.ConfigGet(ctx, name).Result()
	words := strings.Fields(answer[name])
	for k := 0; k+3 < len(words); k += 4 {
		if words[k] != "pubsub" {
			continue
		}
		hard, err := strconv.ParseInt(words[k+1], 10, 64)
		if err != nil {
			break
		}
		if hard == 0 {
			return finding{check, statusOK, "no limit for subscribers", ""}
		}
		f := finding{check, statusOK, fmt.Sprintf("subscribers may lag %s behind", size(hard)), ""}
		if hard < lowBuffer {
			f.Status, f.Next = statusNote, `a burst ends the connection and is lost: CONFIG SET client-output-buffer-limit "pubsub 256mb 64mb 60"`
		}
		return f
	}
	if err == nil {
		return finding{check, statusNote, "not told", ""}
	}
	return finding{check, statusNote, "not told: " + err.Error(), "an ACL user needs +config|get to see it"}
}
