package tenants

import (
	"fmt"
	"time"
)

// DeploymentState is how far a Deployment has come.
type DeploymentState string

const (
	DeploymentPending    DeploymentState = "pending"     // written down
	DeploymentRolling    DeploymentState = "rolling"     // warming, subscribing, switching
	DeploymentLive       DeploymentState = "live"        // it takes the traffic
	DeploymentFailed     DeploymentState = "failed"      // it never took any; the one before it stays
	DeploymentRolledBack DeploymentState = "rolled_back" // its guard gave the traffic back
	DeploymentSuperseded DeploymentState = "superseded"  // a later one took its place
)

var deploymentLife = life[DeploymentState]{
	DeploymentPending: {DeploymentRolling, DeploymentFailed, DeploymentSuperseded},
	DeploymentRolling: {DeploymentLive, DeploymentFailed, DeploymentRolledBack, DeploymentSuperseded},
	DeploymentLive:    {DeploymentRolledBack, DeploymentSuperseded},
}

// Weight is one Version's share of an App's messages.
type Weight struct {
	Version int `json:"version"` // its Number
	Percent int `json:"percent"` // 1 to 100
}

// Guard gives a canary's traffic back to the other version when it does worse. It needs two Weights; the first is the one that is tried.
type Guard struct {
	Errors float64       // share of failed and timed-out invocations over which it gives back; 0 to 1; default 0.05
	Slower float64       // 95th percentile of handler time relative to the other version; 0 means not looked at
	Window time.Duration // that the shares are taken over; default 2 min; 1 s to 24 h
	Least  int           // invocations before it judges; default 20
}

// DefaultGuard is what a canary gets where nothing else is said.
func DefaultGuard() Guard { return Guard{Errors: 0.05, Window: 2 * time.Minute, Least: 20} }

// MarshalJSON writes names in snake_case and durations as "2m0s".
func (g Guard) MarshalJSON() ([]byte, error) { return encodeFields(g) }

// UnmarshalJSON sets the fields that are given, and reports all faults as Faults.
func (g *Guard) UnmarshalJSON(b []byte) error { return decodeFields(b, g) }

// Deployment says which Versions of an App take traffic, since when, and who wanted it. Only State and Steps change.
type Deployment struct {
	ID         DeploymentID      `json:"id"`
	Tenant     ID                `json:"tenant"`
	App        AppName           `json:"app"`
	Weights    []Weight          `json:"weights"`            // one, or two that together make 100
	Affinity   string            `json:"affinity,omitempty"` // field of a JSON payload whose value keeps to one version; "" means the message id
	Guard      *Guard            `json:"guard,omitempty"`
	Actor      string            `json:"actor"`
	Reason     string            `json:"reason,omitempty"` // at most 1,000 bytes
	Previous   DeploymentID      `json:"previous,omitempty"`
	RollbackOf DeploymentID      `json:"rollback_of,omitempty"` // the one that it takes back
	Config     map[string]string `json:"config,omitempty"`      // a mark of each variable's and secret's value when it was made: another value, another mark
	Created    time.Time         `json:"created"`
	State      DeploymentState   `json:"state"`
	Steps      []Step            `json:"steps"` // at most 32
}

// Check reports all faults as Faults.
func (d Deployment) Check() error {
	var c checker
	checkID(&c, "/id", d.ID)
	c.name("/tenant", string(d.Tenant))
	c.name("/app", string(d.App))
	d.checkWeights(&c)
	c.text("/affinity", d.Affinity, 255)
	if d.Guard != nil {
		d.checkGuard(&c)
	}
	subject(&c, "/actor", d.Actor)
	c.text("/reason", d.Reason, 1000)
	if d.Previous != "" {
		checkID(&c, "/previous", d.Previous)
	}
	if d.RollbackOf != "" {
		checkID(&c, "/rollback_of", d.RollbackOf)
	}
	c.count("/config", len(d.Config), maxVariables, "variables and secrets")
	oneOf(&c, "/state", d.State, DeploymentPending, DeploymentRolling, DeploymentLive, DeploymentFailed, DeploymentRolledBack, DeploymentSuperseded)
	c.count("/steps", len(d.Steps), maxSteps, "steps")
	return c.err()
}

func (d Deployment) checkWeights(c *checker) {
	if n := len(d.Weights); n < 1 || n > 2 {
		c.add("/weights", "out_of_range", "%d versions, one or two can share the traffic", n)
		return
	}
	sum := 0
	for i, w := range d.Weights {
		c.between(fmt.Sprintf("/weights/%d/version", i), int64(w.Version), 1, 1<<31)
		c.between(fmt.Sprintf("/weights/%d/percent", i), int64(w.Percent), 1, 100)
		sum += w.Percent
	}
	if sum != 100 {
		c.add("/weights", "out_of_range", "they make %d percent, not 100", sum)
	}
	if len(d.Weights) == 2 && d.Weights[0].Version == d.Weights[1].Version {
		c.add("/weights/1/version", "duplicate", "version %d is there twice", d.Weights[1].Version)
	}
}

func (d Deployment) checkGuard(c *checker) {
	g := d.Guard
	if len(d.Weights) != 2 {
		c.add("/guard", "invalid", "a guard compares two versions")
	}
	if !(g.Errors >= 0 && g.Errors <= 1) {
		c.add("/guard/errors", "out_of_range", "%v is not a share between 0 and 1", g.Errors)
	}
	if !(g.Slower == 0 || g.Slower >= 1 && g.Slower <= 1000) {
		c.add("/guard/slower", "out_of_range", "%v is neither 0 nor between 1 and 1000", g.Slower)
	}
	if g.Window < time.Second || g.Window > 24*time.Hour {
		c.add("/guard/window", "out_of_range", "%v is not between 1s and 24h", g.Window)
	}
	c.between("/guard/least", int64(g.Least), 1, 1_000_000)
}

// Uses tells whether the deployment gives a version traffic.
func (d Deployment) Uses(version int) bool {
	for _, w := range d.Weights {
		if w.Version == version {
			return true
		}
	}
	return false
}

// Ended tells whether the deployment's state is final.
func (d Deployment) Ended() bool { return len(deploymentLife[d.State]) == 0 }

// Move enters the next state, or says that it may not follow.
func (d *Deployment) Move(to DeploymentState, reason, detail string, at time.Time) error {
	if err := deploymentLife.check("deployment "+string(d.ID), d.State, to); err != nil {
		return err
	}
	d.State, d.Steps = to, enter(d.Steps, Step{string(to), reason, detail, at})
	return nil
}
