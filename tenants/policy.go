package tenants

// MarshalJSON writes the policy as the API shows it: names in snake_case, durations as "30s".
func (p Policy) MarshalJSON() ([]byte, error) { return encodeFields(p) }

// UnmarshalJSON sets the fields that are given and leaves the others, so start from DefaultPolicy or from what is in force. All faults come
// at once, as Faults; unknown fields are among them.
func (p *Policy) UnmarshalJSON(b []byte) error { return decodeFields(b, p) }

// MarshalText gives the name.
func (o Overflow) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads the name.
func (o *Overflow) UnmarshalText(b []byte) (err error) {
	*o, err = ParseOverflow(string(b))
	return err
}

// Check reports all faults as Faults. Bounds are against slips and overflow, far above what a machine can do.
func (p Policy) Check() error {
	var c checker
	c.between("/weight", int64(p.Weight), 1, 1_000_000)
	c.between("/concurrency", int64(p.Concurrency), 0, 1_000_000)
	c.between("/queue_count", int64(p.QueueCount), 1, 100_000_000)
	c.between("/queue_bytes", p.QueueBytes, 1, 1<<40)
	c.between("/spill_bytes", p.SpillBytes, -1, 1<<40)
	c.between("/spill_total", p.SpillTotal, -1, 1<<40)
	if !(p.Rate >= 0 && p.Rate <= 1e9) {
		c.add("/rate", "out_of_range", "%v is not between 0 and 1e9", p.Rate)
	}
	if !(p.CPU >= 0 && p.CPU <= 1e6) {
		c.add("/cpu", "out_of_range", "%v is not between 0 and 1e6", p.CPU)
	}
	c.between("/burst", int64(p.Burst), 0, 1_000_000_000)
	c.between("/break_after", int64(p.BreakAfter), -1_000_000, 1_000_000)
	p.Max.check(&c, "/max")
	p.Grants.check(&c, "/grants")
	return c.err()
}

func (l Limits) check(c *checker, at string) {
	for _, n := range []struct {
		name    string
		n, most uint64
	}{
		{"concurrency", uint64(l.Concurrency), 1_000_000},
		{"timeout", uint64(l.Timeout), 1 << 62},
		{"memory", l.Memory, 4 << 30},
		{"fuel", l.Fuel, 1 << 62},
		{"host_calls", uint64(l.HostCalls), 1 << 40},
		{"bytes_out", l.BytesOut, 1 << 40},
		{"bytes_in", l.BytesIn, 1 << 40},
		{"handles", uint64(l.Handles), 1_000_000},
		{"output", l.Output, 1 << 40},
		{"log_rate", uint64(l.LogRate), 1_000_000},
		{"max_wait", uint64(l.MaxWait), 1 << 62},
	} {
		if n.n > n.most { // a negative one is larger than any
			c.add(at+"/"+n.name, "out_of_range", "it is not between 0 and %d", n.most)
		}
	}
	if l.OrderBy != "" {
		c.add(at+"/order_by", "invalid", "it is no ceiling: each trigger has its own")
	}
}
