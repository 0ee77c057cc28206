package deploy

import (
	"github.com/tenloom/tenloom/deploy/manifest"
)

// offered refuses by name what a manifest can ask for and this platform does not do.
func (r *refusal) offered(c *manifest.Component) {
	path := "component." + string(c.ID)
	refuse := func(is bool, line int, key, what, next string) {
		if is {
			r.add(manifest.Fault{Line: line, Path: path + "." + key, Problem: what + " not offered here", Next: next})
		}
	}
	refuse(len(c.SQLiteDatabases) > 0, c.Line, "sqlite_databases", "SQLite databases are", `use a key-value store: key_value_stores = ["default"]`)
	refuse(len(c.AIModels) > 0, c.Line, "ai_models", "language models are", "call one over outbound HTTP")
	for _, d := range c.Dependencies {
		refuse(true, d.Line, "dependencies", "component dependencies are", "compose the component before deploying it (wac plug), and name the result as source")
	}
	t := c.Tool
	text := func(text *manifest.Text, key, what, next string) {
		if text != nil {
			refuse(true, text.Line, "tool.tenloom."+key, what, next)
		}
	}
	const noStream = "use a channel or a pattern"
	text(t.Stream, "stream", "stream triggers are", noStream)
	text(t.Group, "group", "consumer groups of streams are", noStream)
	refuse(t.Retry != nil, c.Line, "tool.tenloom.retry", "retries are", "remove it; a message is handled once")
	refuse(t.DeadLetter != nil && *t.DeadLetter, c.Line, "tool.tenloom.dead_letter", "dead letters are", "remove it; /v1/tenants/{tenant}/invocations keeps the last failures")
}
