package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func tenantsCommand(g *globals) *cobra.Command {
	var title, reason string
	own := func(c *client, args []string) (string, error) {
		if len(args) == 1 {
			c.tenant = args[0]
		}
		return c.of(), nil
	}
	reasoned := func(cmd *cobra.Command) { cmd.Flags().StringVar(&reason, "reason", "", "why; the tenant is told") }
	because := func(*cobra.Command, []string) (any, error) { return map[string]string{"reason": reason}, nil }
	return group(g, "tenants", "Make, show and stop tenants (operators)",
		verb{use: "ls", short: "List the tenants", path: func(*client, []string) (string, error) { return "/v1/tenants", nil },
			list: &listing{columns: []column{{"NAME", "name"}, {"STATE", "state"}, {"TITLE", "title"}, {"CREATED", "created"}}, key: "name"}},
		verb{use: "show [NAME]", short: "Show a tenant", high: 1, path: own},
		verb{use: "create NAME", short: "Make a tenant, with the default policy", low: 1, high: 1, method: http.MethodPost,
			path:  func(*client, []string) (string, error) { return "/v1/tenants", nil },
			flags: func(cmd *cobra.Command) { cmd.Flags().StringVar(&title, "title", "", "name for people") },
			body: func(_ *cobra.Command, args []string) (any, error) {
				in := map[string]string{"name": args[0]}
				if title != "" {
					in["title"] = title
				}
				return in, nil
			},
			done: func(args []string) string {
				return fmt.Sprintf("Tenant %q is there. Its owner signs in with: tokens create -t %s --role owner", args[0], args[0])
			}},
		verb{use: "suspend NAME", short: "Stop everything of a tenant's; nothing is lost but what is published meanwhile", low: 1, high: 1,
			method: http.MethodPost, path: withVerb("suspend", own), flags: reasoned, body: because,
			done: func(args []string) string { return fmt.Sprintf("Tenant %q is suspended.", args[0]) },
			sure: func(args []string) string { return fmt.Sprintf("Suspend tenant %q?", args[0]) }},
		verb{use: "resume NAME", short: "Take a suspension back", low: 1, high: 1, method: http.MethodPost, path: withVerb("resume", own),
			done: func(args []string) string { return fmt.Sprintf("Tenant %q runs again.", args[0]) }},
		verb{use: "rm NAME", short: "Remove a tenant with everything of it", low: 1, high: 1, method: http.MethodDelete, path: own,
			done: func(args []string) string { return fmt.Sprintf("Tenant %q is gone.", args[0]) },
			sure: func(args []string) string {
				return fmt.Sprintf("Remove tenant %q, its applications, tokens and secrets?", args[0])
			}},
	)
}

func membersCommand(g *globals) *cobra.Command {
	return group(g, "members", "Who works in the tenant, and as what",
		verb{use: "ls", short: "List the members", path: ofTenant("members"),
			list: &listing{columns: []column{{"WHO", "subject"}, {"ROLE", "role"}, {"ADDED", "added"}, {"BY", "added_by"}}, key: "subject"}},
		verb{use: "set WHO ROLE", short: "Add a member, or change their role: viewer, deployer or owner", low: 2, high: 2, method: http.MethodPut,
			path: func(c *client, args []string) (string, error) { return c.of("members", args[0]), nil },
			body: func(_ *cobra.Command, args []string) (any, error) { return map[string]string{"role": args[1]}, nil },
			done: func(args []string) string { return fmt.Sprintf("%s is %s.", args[0], args[1]) }},
		verb{use: "rm WHO", short: "Remove a member", low: 1, high: 1, method: http.MethodDelete, path: ofTenant("members"),
			done: func(args []string) string { return fmt.Sprintf("%s is no member any more.", args[0]) }},
	)
}

func policyCommand(g *globals) *cobra.Command {
	var file string
	var fields []string
	set := &cobra.Command{
		Use: "set", Short: "Change what a tenant may do (operators)", Args: wantArgs(0, 0),
		Long:    "Change what a tenant may do. What is not named stays. Fails with 5 where somebody else changes it at the same time.",
		Example: "  tenloom policy set -t acme -f rate=500 -f concurrency=32\n  tenloom policy set -t acme --file policy.json",
	}
	set.RunE = func(cmd *cobra.Command, _ []string) error {
		s, c, err := g.screenAndClient(cmd)
		if err != nil {
			return err
		}
		doc, header, err := c.call(cmd.Context(), http.MethodGet, c.of("policy"), nil)
		if err != nil {
			return err
		}
		policy := map[string]json.RawMessage{}
		err = json.Unmarshal(doc, &policy)
		if err == nil && file != "" {
			err = mergeFile(policy, file)
		}
		if err = errors.Join(err, mergeFields(policy, fields)); err != nil {
			return fail(exitUsage, "%w", err)
		}
		r := apiRequest{method: http.MethodPut, path: c.of("policy"), header: map[string]string{"If-Match": header.Get("ETag")}}
		if doc, _, err = c.callWith(cmd.Context(), r, policy); err != nil {
			return err
		}
		if s.isJSON() {
			return s.json(doc)
		}
		g.hint(cmd, "The policy of %s is changed.", c.tenant)
		return nil
	}
	g.serverFlags(set)
	set.Flags().StringVar(&file, "file", "", "JSON file with what changes")
	set.Flags().StringArrayVarP(&fields, "field", "f", nil, "what changes: name=value, with dots for what is inside, such as max.timeout=10s")
	cmd := group(g, "policy", "What the tenant may do and keep", verb{use: "show", short: "Show the policy", path: ofTenant("policy")})
	cmd.AddCommand(set)
	return cmd
}

func mergeFile(policy map[string]json.RawMessage, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &policy); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return nil
}

// mergeFields sets what name=value says, in objects inside where the name has dots.
func mergeFields(into map[string]json.RawMessage, fields []string) error {
	for _, f := range fields {
		name, value, ok := strings.Cut(f, "=")
		if !ok {
			return fmt.Errorf("the field %q is not name=value", f)
		}
		if err := mergeField(into, name, value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

func mergeField(into map[string]json.RawMessage, name, value string) error {
	first, rest, inside := strings.Cut(name, ".")
	if !inside {
		doc, err := json.Marshal(fieldValue(value))
		into[name] = doc
		return err
	}
	inner := map[string]json.RawMessage{}
	if have, ok := into[first]; ok {
		if err := json.Unmarshal(have, &inner); err != nil {
			return err
		}
	}
	if err := mergeField(inner, rest, value); err != nil {
		return err
	}
	doc, err := json.Marshal(inner)
	into[first] = doc
	return err
}

// limitsCommand shows the policy beside what is used of it.
func limitsCommand(g *globals) *cobra.Command {
	return verb{use: "limits", short: "Show what the tenant may do and keep", path: ofTenant("policy")}.command(g)
}
