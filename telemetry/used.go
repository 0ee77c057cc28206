package telemetry

import (
	"encoding/json"
	"time"

	"github.com/tenloom/tenloom/tenants"
)

// Used is what an application's deliveries came to.
type Used struct {
	Outcomes    ByOutcome `json:"outcomes"` // of all deliveries, those that reached no handler too
	Invocations int64     `json:"invocations"`
	Failed      int64     `json:"failed"`     // invocations that were not handled
	Seconds     float64   `json:"seconds"`    // of handlers
	Held        float64   `json:"gb_seconds"` // each invocation's largest memory in GB (1e9 bytes) times its time in seconds
	Fuel        uint64    `json:"fuel"`       // units
	Bytes       int64     `json:"bytes"`      // of payloads
	Sent        int64     `json:"bytes_sent"` // through outbound calls
	Replied     int64     `json:"bytes_replied"`
	Calls       int64     `json:"outbound_calls"`
}

func (u *usage) read() Used {
	all := Used{
		Invocations: u.invocations.Load(), Failed: u.failed.Load(), Seconds: time.Duration(u.ran.Load()).Seconds(), Fuel: u.fuel.Load(),
		Held:  (float64(u.held[1].Load())*(1<<64) + float64(u.held[0].Load())) * (page / 1e9) / 1e9,
		Bytes: u.payload.Load(), Sent: u.sent.Load(), Replied: u.replied.Load(), Calls: u.called.Load(),
	}
	for o := range all.Outcomes {
		all.Outcomes[o] = u.outcomes[o].Load()
	}
	return all
}

// Plus adds another's numbers.
func (u *Used) Plus(o Used) {
	for i, n := range o.Outcomes {
		u.Outcomes[i] += n
	}
	u.Invocations += o.Invocations
	u.Failed += o.Failed
	u.Seconds += o.Seconds
	u.Held += o.Held
	u.Fuel += o.Fuel
	u.Bytes += o.Bytes
	u.Sent += o.Sent
	u.Replied += o.Replied
	u.Calls += o.Calls
}

// since is what came to it after an earlier reading of the same.
func (u Used) since(o Used) Used {
	for i, n := range o.Outcomes {
		u.Outcomes[i] -= n
	}
	u.Invocations -= o.Invocations
	u.Failed -= o.Failed
	u.Seconds -= o.Seconds
	u.Held -= o.Held
	u.Fuel -= o.Fuel
	u.Bytes -= o.Bytes
	u.Sent -= o.Sent
	u.Replied -= o.Replied
	u.Calls -= o.Calls
	return u
}

// ByOutcome are counts of deliveries. In JSON it is an object with the names of those that are not zero.
type ByOutcome [tenants.Outcomes]int64

// MarshalJSON implements json.Marshaler.
func (b ByOutcome) MarshalJSON() ([]byte, error) {
	named := map[string]int64{}
	for o, n := range b {
		if n != 0 {
			named[tenants.Outcome(o).String()] = n
		}
	}
	return json.Marshal(named)
}

// UnmarshalJSON implements json.Unmarshaler. A name that it does not know is an error.
func (b *ByOutcome) UnmarshalJSON(text []byte) error {
	var named map[tenants.Outcome]int64
	if err := json.Unmarshal(text, &named); err != nil {
		return err
	}
	*b = ByOutcome{}
	for o, n := range named {
		b[o] = n
	}
	return nil
}
