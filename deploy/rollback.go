package deploy

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"

	"github.com/tenloom/tenloom/tenants"
	"github.com/tenloom/tenloom/tenants/store"
)

// RollbackRequest asks for a version that had an app's traffic to take it again.
type RollbackRequest struct {
	To      string   // number, id or digest of the version; "" is the last one that had all traffic before what is live now
	Accept  []string // variables and secrets that have changed since, and may stay as they are now
	Reason  string
	IfMatch string
}

// Rollback is a new deployment of a version that was live before. Variables and secrets are not rolled back: where some have changed since
// the version last took traffic, it is refused as ConfigChanged with their names, unless all of them are accepted.
func (c *Controller) Rollback(ctx context.Context, by Actor, t tenants.ID, a tenants.AppName, r RollbackRequest) (Deployed, error) {
	back, err := c.way(ctx, t, a, r.To)
	if err != nil {
		return Deployed{}, err
	}
	d, err := c.design(ctx, by, t, a, DeploymentRequest{Shares: []Share{{strconv.Itoa(back.to), 100}}, Reason: r.Reason})
	if err != nil {
		return Deployed{}, err
	}
	d.RollbackOf = back.from
	now, err := c.marks(ctx, t, a)
	if err != nil {
		return Deployed{}, err
	}
	if names := differ(back.config, now, r.Accept); len(names) > 0 {
		p := problemf(ConfigChanged, "accept them by name, or set them as they were", "%s changed since version %d last took traffic, and are not rolled back", list(names), back.to)
		p.Names = names
		return Deployed{}, p
	}
	return c.deploy(ctx, by, d, r.IfMatch, "deployment.rollback", nil)
}

// way is where a rollback leads.
type way struct {
	from   tenants.DeploymentID // what is live
	to     int                  // the version
	config map[string]string    // marks of the variables and secrets when the version last gave its traffic up
}

// way goes back from the app's newest deployment to the last one that gave the version all traffic. What was set while the version had it, it
// has run with: so what counts is how things stood when the deployment after it was made.
func (c *Controller) way(ctx context.Context, t tenants.ID, a tenants.AppName, to string) (w way, err error) {
	want := 0
	if to != "" {
		v, err := c.config.Store.Version(ctx, t, a, to)
		if err != nil {
			return w, err
		}
		want = v.Value.Number
	}
	app, err := c.config.Store.App(ctx, t, string(a))
	if err != nil {
		return w, err
	}
	var live tenants.Deployment
	for id := app.Value.Deployment; id != ""; {
		have, err := c.config.Store.Deployment(ctx, t, a, string(id))
		if errors.Is(err, store.ErrNotFound) {
			break
		}
		if err != nil {
			return w, err
		}
		d := have.Value
		id = d.Previous
		switch {
		case d.State == tenants.DeploymentFailed || d.State == tenants.DeploymentPending || d.State == tenants.DeploymentRolling:
			continue
		case w.from == "":
			w.from, live = d.ID, d
		case len(d.Weights) == 1 && (d.Weights[0].Version == want || want == 0 && !live.Uses(d.Weights[0].Version)) ||
			want == 0 && len(live.Weights) == 2 && len(d.Weights) == 1:
			w.to = d.Weights[0].Version
			return w, nil
		}
		w.config = d.Config
	}
	if want != 0 && w.from != "" {
		return w, problemf(NoRollback, "deploy it instead", "version %d never had all traffic of %s/%s", want, t, a)
	}
	return w, problemf(NoRollback, "deploy a version instead", "there is no version of %s/%s that had all traffic before", t, a)
}

// marks tell the values of an app's variables and secrets apart without telling them.
func (c *Controller) marks(ctx context.Context, t tenants.ID, a tenants.AppName) (map[string]string, error) {
	marks := map[string]string{}
	for q := (store.Query{Limit: store.MaxPage}); ; {
		p, err := c.config.Store.Variables(ctx, t, a, q)
		if err != nil {
			return nil, err
		}
		for _, v := range p.Items {
			h := fnv.New64a()
			h.Write([]byte(v.Value.Value))
			marks[v.Value.Name] = strconv.FormatUint(h.Sum64(), 36)
		}
		if q.Cursor = p.Next; q.Cursor == "" {
			break
		}
	}
	for q := (store.Query{Limit: store.MaxPage}); ; {
		p, err := c.config.Store.Secrets(ctx, t, a, q)
		if err != nil {
			return nil, err
		}
		for _, s := range p.Items { // nothing of the value, which a short one could be guessed from
			marks[s.Value.Name] = fmt.Sprintf("%d.%s", s.Value.Version, strconv.FormatInt(s.Value.Changed.UnixMilli(), 36))
		}
		if q.Cursor = p.Next; q.Cursor == "" {
			return marks, nil
		}
	}
}

// differ lists the names whose marks are not the same, apart from those that are accepted.
func differ(before, now map[string]string, accept []string) (names []string) {
	for name, mark := range now {
		if old, there := before[name]; !there || old != mark {
			names = append(names, name)
		}
	}
	for name := range before {
		if _, there := now[name]; !there {
			names = append(names, name)
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(accept, name) })
	slices.Sort(names)
	return names
}

func list(names []string) string {
	text := names[0]
	for i, name := range names[1:] {
		switch {
		case i == 9:
			return text + fmt.Sprintf(" and %d more", len(names)-10)
		case i == len(names)-2:
			text += " and " + name
		default:
			text += ", " + name
		}
	}
	return text
}
