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
	if !(p.Rate >= 0 && p.Rate <= 1e9) {
		c.add("/rate", "out_of_range", "%v is not between 0 and 1e9", p.Rate)
	}
	if !(p.CPU >= 0 && p.CPU <= 1e6) {
		c.add("/cpu", "out_of_range", "%v is not between 0 and 1e6", p.CPU)
	}
	c.between("/burst", int64(p.Burst), 0, 1_000_000_000)
	c.between("/max/concurrency", int64(p.Max.Concurrency), 0, 1_000_000)
	c.between("/max/timeout", int64(p.Max.Timeout), 0, 1<<62)
	c.between("/max/memory", int64(min(p.Max.Memory, 1<<62)), 0, 4<<30)
	c.between("/max/fuel", int64(min(p.Max.Fuel, 1<<63-1)), 0, 1<<63-1)
	c.between("/max/host_calls", int64(p.Max.HostCalls), 0, 1<<62)
	c.between("/max/bytes_out", int64(min(p.Max.BytesOut, 1<<62)), 0, 1<<50)
	c.between("/max/bytes_in", int64(min(p.Max.BytesIn, 1<<62)), 0, 1<<50)
	c.between("/max/handles", int64(p.Max.Handles), 0, 1_000_000)
	c.between("/max/output", int64(min(p.Max.Output, 1<<62)), 0, 1<<40)
	c.between("/max/log_rate", int64(p.Max.LogRate), 0, 1_000_000_000)
	c.between("/max/max_wait", int64(p.Max.MaxWait), 0, 1<<62)
	p.Grants.check(&c, "/grants")
	return c.err()
}
