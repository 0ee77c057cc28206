package manifest

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Bounds of [tool.tenloom]. A tenant's policy sets tighter ones at deploy.
const (
	maxAttempts = 1000
)

// quantity is something that is measured in bytes, and its bounds.
type quantity struct {
	name        string
	least, most float64
	bounds      string
}

var (
	memory = quantity{"memory", 64 << 10, 4 << 30, "64KiB to 4GiB"} // one page of WebAssembly, and all that 32-bit addresses reach
	data   = quantity{"data", 1, 1 << 40, "1 byte to 1024GiB"}
)

// What retry waits where it says nothing.
const minBackoff, maxBackoff = time.Second, time.Minute

// tools reads a table of settings for tools. Ours is [tool.tenloom]; the others' are none of our business.
func (d *decoder) tools(to *Tool) reader {
	return d.each(func(path string, e entry) {
		switch {
		case e.key == "tenloom":
			d.tenloom(path, e.value, to)
		case d.is(path, e.value, table):
			if _, ok := tenants.Nearest(e.key, []string{"tenloom"}); ok {
				d.warn(e.at, path, `did you mean "tenloom"?`, "these settings are read by no tool that tenloom knows")
			}
		}
	})
}

// toolKeys are the keys of [tool.tenloom], for people who write them one table too high.
var toolKeys = []string{"pattern", "sharded", "stream", "group", "concurrency", "isolation", "timeout", "memory", "fuel", "host_calls", "bytes_out", "bytes_in", "handles", "output", "log_rate", "overflow", "max_wait", "order_by", "trace", "retry", "dead_letter"}

func (d *decoder) tenloom(path string, v *node, t *Tool) {
	d.table(path, v,
		may("pattern", d.optional(&t.Pattern)),
		may("sharded", d.optional(&t.Sharded)),
		may("stream", d.optional(&t.Stream)),
		may("group", d.optional(&t.Group)),
		may("concurrency", func(path string, v *node) { t.Concurrency = d.count(path, v, math.MaxInt32) }),
		may("isolation", func(path string, v *node) {
			if d.is(path, v, text) && v.text != Fresh && v.text != Reuse {
				d.fault(v.at, path, `write "fresh" or "reuse"`, "isolation %q is not known", clip(v.text))
			}
			t.Isolation = v.text
		}),
		may("timeout", d.duration(&t.Timeout)),
		may("memory", func(path string, v *node) { t.Memory = d.bytes(path, v, memory) }),
		may("fuel", d.units(&t.Fuel)),
		may("host_calls", func(path string, v *node) { t.HostCalls = d.count(path, v, math.MaxInt64) }),
		may("bytes_out", func(path string, v *node) { t.BytesOut = d.bytes(path, v, data) }),
		may("bytes_in", func(path string, v *node) { t.BytesIn = d.bytes(path, v, data) }),
		may("handles", func(path string, v *node) { t.Handles = d.count(path, v, math.MaxInt32) }),
		may("output", func(path string, v *node) { t.Output = d.bytes(path, v, data) }),
		may("log_rate", func(path string, v *node) { t.LogRate = d.count(path, v, math.MaxInt32) }),
		may("overflow", func(path string, v *node) {
			if !d.is(path, v, text) {
				return
			}
			o, err := tenants.ParseOverflow(v.text)
			if err != nil {
				d.fault(v.at, path, "choose one of these", "%v", err)
			}
			t.Overflow = &o
		}),
		may("max_wait", d.duration(&t.MaxWait)),
		may("trace", func(path string, v *node) {
			if d.is(path, v, text) && v.text != CloudEvents {
				d.fault(v.at, path, `write "cloudevents", or leave it out`, "trace %q is not known", clip(v.text))
			}
			t.Trace = v.text
		}),
		may("order_by", func(path string, v *node) {
			if !d.is(path, v, text) {
				return
			}
			if _, err := tenants.ParsePointer(v.text); err != nil {
				d.fault(v.at, path, `write a JSON pointer into the payload: "/order/customer"`, "%v", err)
			}
			t.OrderBy = &v.text
		}),
		may("retry", func(path string, v *node) { t.Retry = d.retry(path, v) }),
		may("dead_letter", func(path string, v *node) {
			t.DeadLetter = new(bool)
			d.flag(t.DeadLetter)(path, v)
		}),
	)
	if t.Stream == nil {
		return
	}
	for _, key := range []string{"pattern", "sharded"} {
		if other := v.get(key); other != nil {
			d.fault(other.at, join(path, key), "keep one of them", "stream excludes %s", key)
		}
	}
}

func (d *decoder) optional(to **Text) reader {
	return func(path string, v *node) {
		*to = &Text{}
		d.filledTemplate(*to)(path, v)
	}
}

// completeTool takes what a component leaves open from the application. A component that names a source of messages takes none of the
// application's, and retries and dead letters come along only where there is a stream; a component that asks for them without is at fault.
func (d *decoder) completeTool(path string, v *node, t *Tool) {
	def := d.tool
	if t.Pattern == nil && t.Sharded == nil && t.Stream == nil {
		t.Pattern, t.Sharded, t.Stream = def.Pattern, def.Sharded, def.Stream
	}
	if t.Stream != nil {
		t.Group = first(t.Group, def.Group)
		t.Retry = first(t.Retry, def.Retry)
		t.DeadLetter = first(t.DeadLetter, def.DeadLetter)
	} else {
		d.needStream(path, v)
	}
	t.Concurrency = first(t.Concurrency, def.Concurrency)
	t.Timeout = first(t.Timeout, def.Timeout)
	t.Memory = first(t.Memory, def.Memory)
	t.Fuel = first(t.Fuel, def.Fuel)
	t.HostCalls = first(t.HostCalls, def.HostCalls)
	t.BytesOut = first(t.BytesOut, def.BytesOut)
	t.BytesIn = first(t.BytesIn, def.BytesIn)
	t.Handles = first(t.Handles, def.Handles)
	t.Output = first(t.Output, def.Output)
	t.LogRate = first(t.LogRate, def.LogRate)
	t.Overflow = first(t.Overflow, def.Overflow)
	t.MaxWait = first(t.MaxWait, def.MaxWait)
	t.OrderBy = first(t.OrderBy, def.OrderBy)
	if t.OrderBy != nil && t.Overflow != nil && *t.Overflow == tenants.Coalesce {
		d.fault(v.at, join(join(path, "tool"), "tenloom"), `use overflow = "drop_oldest" with order_by`,
			"order_by excludes overflow \"coalesce\", which keeps one message of each channel whatever its key")
	}
	if t.Trace == "" {
		t.Trace = def.Trace
	}
	if t.Isolation == "" {
		t.Isolation = def.Isolation
	}
}

// needStream names what a component without a stream cannot have.
func (d *decoder) needStream(path string, component *node) {
	own := component
	for _, key := range []string{"tool", "tenloom"} {
		if own = own.get(key); own == nil {
			return
		}
		path = join(path, key)
	}
	for _, key := range []string{"group", "retry", "dead_letter"} {
		if v := own.get(key); v != nil {
			d.fault(v.at, join(path, key), `add stream = "name", or remove it`, "%s needs a stream, because pub/sub messages cannot be read again", key)
		}
	}
}

func first[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

func (d *decoder) retry(path string, v *node) *Retry {
	r := &Retry{MinBackoff: minBackoff, MaxBackoff: maxBackoff}
	d.table(path, v,
		need("attempts", func(path string, v *node) {
			if n := d.count(path, v, maxAttempts); n != nil {
				r.Attempts = *n
			}
		}),
		may("backoff", func(path string, v *node) {
			if !d.is(path, v, text) {
				return
			}
			low, high, _ := strings.Cut(v.text, "..")
			var errLow, errHigh error
			r.MinBackoff, errLow = time.ParseDuration(low)
			r.MaxBackoff, errHigh = time.ParseDuration(high)
			if errLow != nil || errHigh != nil || r.MinBackoff <= 0 || r.MaxBackoff < r.MinBackoff {
				d.fault(v.at, path, `write the first and the longest wait: "1s..1m"`, "backoff %q is not a range of durations", clip(v.text))
			}
		}),
	)
	return r
}

func (d *decoder) duration(to **time.Duration) reader {
	return func(path string, v *node) {
		if !d.is(path, v, text) {
			return
		}
		n, err := time.ParseDuration(v.text)
		if err != nil || n <= 0 {
			d.fault(v.at, path, `write a number and a unit: "500ms", "5s", "1m30s"`, "%q is not a duration greater than zero", clip(v.text))
		}
		*to = &n
	}
}

// units reads a whole number from 1, as large as TOML has them.
func (d *decoder) units(to **uint64) reader {
	return func(path string, v *node) {
		if n := d.count(path, v, math.MaxInt64); n != nil {
			units := uint64(*n)
			*to = &units
		}
	}
}

// count reads a whole number from 1.
func (d *decoder) count(path string, v *node, most int64) *int {
	if !d.is(path, v, integer) {
		return nil
	}
	n := parsedInt(v)
	if n < 1 || n > most {
		d.fault(v.at, path, "write a number in that range", "must be from 1 to %d, not %s", most, clip(v.text))
		return nil
	}
	out := int(n)
	return &out
}

// parsedInt gives an integer's value. The TOML decoder has accepted it before, so it fits.
func parsedInt(v *node) int64 {
	n, _ := strconv.ParseInt(strings.ReplaceAll(strings.TrimPrefix(v.text, "+"), "_", ""), 0, 64)
	return n
}

var units = []struct {
	name string
	size float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1},
}

// bytes reads an amount: whole bytes, or text with a unit.
func (d *decoder) bytes(path string, v *node, of quantity) *uint64 {
	const next = `write "64MiB", "64MB" or whole bytes`
	var n float64
	switch v.kind {
	case integer:
		n = float64(parsedInt(v))
	case text:
		var ok bool
		if n, ok = parseBytes(v.text); !ok {
			d.fault(v.at, path, next, "%q is not an amount of %s", clip(v.text), of.name)
			return nil
		}
	default:
		d.fault(v.at, path, next, "must be a string or an integer, not %s", v.kind)
		return nil
	}
	if n < of.least || n > of.most {
		d.fault(v.at, path, next, "must be from %s, not %s", of.bounds, clip(v.text))
		return nil
	}
	out := uint64(n)
	return &out
}

func parseBytes(s string) (float64, bool) {
	for _, u := range units {
		number, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		number = strings.TrimRight(number, " ")
		if strings.Trim(number, "0123456789.") != "" {
			return 0, false // neither signs nor exponents
		}
		n, err := strconv.ParseFloat(number, 64)
		return n * u.size, err == nil
	}
	return 0, false
}
