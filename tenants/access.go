package tenants

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Action is something that can be done to a resource: noun and verb, such as "versions.create".
type Action string

// Every Action that there is.
const (
	ListTenants   Action = "tenants.list"
	CreateTenant  Action = "tenants.create"
	ReadTenant    Action = "tenants.read"
	UpdateTenant  Action = "tenants.update"
	SuspendTenant Action = "tenants.suspend"
	ResumeTenant  Action = "tenants.resume"
	DeleteTenant  Action = "tenants.delete"

	ReadPolicy  Action = "policy.read"
	WritePolicy Action = "policy.write"

	ReadMembers  Action = "members.read"
	WriteMember  Action = "members.write"
	DeleteMember Action = "members.delete"

	ReadTokens  Action = "tokens.read"
	CreateToken Action = "tokens.create"
	RevokeToken Action = "tokens.revoke"

	ReadOperatorTokens  Action = "operators.read"
	CreateOperatorToken Action = "operators.create"
	RevokeOperatorToken Action = "operators.revoke"

	ReadConnections  Action = "connections.read"
	WriteConnection  Action = "connections.write"
	TestConnection   Action = "connections.test"
	DeleteConnection Action = "connections.delete"

	ListApps  Action = "apps.list"
	ReadApp   Action = "apps.read"
	CreateApp Action = "apps.create"
	UpdateApp Action = "apps.update"
	PauseApp  Action = "apps.pause"
	ResumeApp Action = "apps.resume"
	DeleteApp Action = "apps.delete"

	ReadBlob  Action = "blobs.read"
	WriteBlob Action = "blobs.write"

	ReadVersions  Action = "versions.read"
	CreateVersion Action = "versions.create"
	DeleteVersion Action = "versions.delete"

	ReadDeployments  Action = "deployments.read"
	CreateDeployment Action = "deployments.create"
	CancelDeployment Action = "deployments.cancel"

	ReadTriggers  Action = "triggers.read"
	PauseTrigger  Action = "triggers.pause"
	ResumeTrigger Action = "triggers.resume"

	ReadVariables  Action = "variables.read"
	WriteVariable  Action = "variables.write"
	DeleteVariable Action = "variables.delete"

	ReadSecrets  Action = "secrets.read" // names only
	WriteSecret  Action = "secrets.write"
	DeleteSecret Action = "secrets.delete"

	ReadLogs          Action = "logs.read"
	ReadInvocations   Action = "invocations.read"
	ReadPayloads      Action = "payloads.read" // of messages, unmasked
	ReadDeadLetters   Action = "dead_letters.read"
	ReplayDeadLetters Action = "dead_letters.replay"
	DropDeadLetters   Action = "dead_letters.drop"

	PublishMessage    Action = "messages.publish"
	PublishEvent      Action = "topics.publish"
	InvokeBinding     Action = "bindings.invoke"
	ReadChannels      Action = "channels.read"
	ReadSubscriptions Action = "subscriptions.read"
	ReadStream        Action = "stream.read"

	ReadUsage       Action = "usage.read"
	ReadAudit       Action = "audit.read"
	ReadWebhooks    Action = "webhooks.read"
	WriteWebhook    Action = "webhooks.write"
	DeleteWebhook   Action = "webhooks.delete"
	ReadOperation   Action = "operations.read"
	ReadMetrics     Action = "metrics.read"
	OperatePlatform Action = "platform.operate" // backup, restore, drain, reload
)

// rule says who may do an Action within a tenant.
type rule struct {
	least    Role // NoRole: operators only
	perApp   bool // it is about one App, so a token that is bound to an App may do it there
	bound    bool // it is about the tenant, and a token that is bound to an App may do it all the same
	writes   bool // it changes something: refused while the tenant is suspended, and audited
	often    bool // it changes something, but comes too often for the audit log, or is told there by what follows it
	person   bool // no token may do it but an operator's
	payloads bool // it shows what tenants' messages or handlers hold: audited where an operator does it
	own      bool // who started the thing may do it whatever their Role
}

var rules = map[Action]rule{
	ListTenants:   {},
	CreateTenant:  {writes: true},
	ReadTenant:    {least: Viewer, bound: true},
	UpdateTenant:  {writes: true},
	SuspendTenant: {writes: true},
	ResumeTenant:  {writes: true},
	DeleteTenant:  {writes: true},

	ReadPolicy:  {least: Viewer, bound: true},
	WritePolicy: {writes: true},

	ReadMembers:  {least: Owner},
	WriteMember:  {least: Owner, writes: true},
	DeleteMember: {least: Owner, writes: true},

	ReadTokens:  {least: Owner},
	CreateToken: {least: Owner, writes: true, person: true},
	RevokeToken: {least: Owner, writes: true},

	ReadOperatorTokens:  {},
	CreateOperatorToken: {writes: true},
	RevokeOperatorToken: {writes: true},

	ReadConnections:  {least: Owner},
	WriteConnection:  {least: Owner, writes: true},
	TestConnection:   {least: Owner},
	DeleteConnection: {least: Owner, writes: true},

	ListApps:  {least: Viewer, bound: true},
	ReadApp:   {least: Viewer, perApp: true},
	CreateApp: {least: Deployer, perApp: true, writes: true},
	UpdateApp: {least: Deployer, perApp: true, writes: true},
	PauseApp:  {least: Deployer, perApp: true, writes: true},
	ResumeApp: {least: Deployer, perApp: true, writes: true},
	DeleteApp: {least: Owner, perApp: true, writes: true},

	ReadBlob:  {least: Deployer, perApp: true},
	WriteBlob: {least: Deployer, perApp: true, writes: true, often: true},

	ReadVersions:  {least: Viewer, perApp: true},
	CreateVersion: {least: Deployer, perApp: true, writes: true},
	DeleteVersion: {least: Deployer, perApp: true, writes: true},

	ReadDeployments:  {least: Viewer, perApp: true},
	CreateDeployment: {least: Deployer, perApp: true, writes: true},
	CancelDeployment: {least: Deployer, perApp: true, writes: true},

	ReadTriggers:  {least: Viewer, perApp: true},
	PauseTrigger:  {least: Deployer, perApp: true, writes: true},
	ResumeTrigger: {least: Deployer, perApp: true, writes: true},

	ReadVariables:  {least: Deployer, perApp: true},
	WriteVariable:  {least: Deployer, perApp: true, writes: true},
	DeleteVariable: {least: Deployer, perApp: true, writes: true},

	ReadSecrets:  {least: Deployer, perApp: true},
	WriteSecret:  {least: Deployer, perApp: true, writes: true},
	DeleteSecret: {least: Deployer, perApp: true, writes: true},

	ReadLogs:          {least: Viewer, perApp: true, payloads: true},
	ReadInvocations:   {least: Viewer, perApp: true, payloads: true},
	ReadPayloads:      {least: Deployer, perApp: true, payloads: true},
	ReadDeadLetters:   {least: Viewer, perApp: true, payloads: true},
	ReplayDeadLetters: {least: Deployer, perApp: true, writes: true},
	DropDeadLetters:   {least: Deployer, perApp: true, writes: true},

	PublishMessage:    {least: Deployer, writes: true, often: true},
	PublishEvent:      {least: Deployer, bound: true, writes: true, often: true}, // where the component's scopes have the App
	InvokeBinding:     {least: Deployer, bound: true, writes: true, often: true}, // likewise
	ReadChannels:      {least: Viewer},
	ReadSubscriptions: {least: Viewer},
	ReadStream:        {least: Viewer, payloads: true},

	ReadUsage:       {least: Viewer},
	ReadAudit:       {least: Owner},
	ReadWebhooks:    {least: Owner},
	WriteWebhook:    {least: Owner, writes: true},
	DeleteWebhook:   {least: Owner, writes: true},
	ReadOperation:   {least: Owner, perApp: true, own: true},
	ReadMetrics:     {},
	OperatePlatform: {writes: true},
}

// Actions lists every Action, sorted.
func Actions() []Action { return slices.Sorted(maps.Keys(rules)) }

// Scope narrows what a Token may do: an Action, "noun.*", or "*.read" for everything that changes nothing.
type Scope string

// Check tells whether the scope covers anything.
func (s Scope) Check() error {
	for a := range rules {
		if s.covers(a) {
			return nil
		}
	}
	return fmt.Errorf("scope %.40q is neither an action such as versions.create, nor \"noun.*\", nor \"*.read\"", string(s))
}

func (s Scope) covers(a Action) bool {
	if s == "*.read" {
		return !rules[a].writes
	}
	noun, all := strings.CutSuffix(string(s), ".*")
	if all {
		of, _, _ := strings.Cut(string(a), ".")
		return noun == of
	}
	return string(s) == string(a)
}

// Principal is who acts. One who is member of several tenants is one Principal in each.
type Principal struct {
	Subject  string  // a Member's, or the id of a Token
	Token    bool    // a program with a Token, not a person
	Operator bool    // of the platform
	Tenant   ID      // whose member it is; "" where it is nobody's
	Role     Role    // in Tenant
	App      AppName // a Token's only App; "" means all
	Scopes   []Scope // a Token's; none means all that Role allows
}

// Resource is what is acted on.
type Resource struct {
	Tenant    ID      // "" for the platform as a whole
	App       AppName // "" for the tenant as a whole
	StartedBy string  // of an Operation
	Suspended bool    // whether the tenant is not TenantActive
}

// Verdict is the answer to May.
type Verdict uint8

const (
	Refused    Verdict = iota // the Role does not reach: 403
	Allowed                   // go on
	Unseen                    // for this Principal the resource does not exist: 404, the same as for one that does not
	OutOfScope                // the Role would do, the Token's scopes or App do not: 403
	Suspended                 // the tenant is suspended, so nothing of it changes: 403
)

var verdictNames = []string{"refused", "allowed", "unseen", "out_of_scope", "suspended"}

func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// Access is what May decides.
type Access struct {
	Verdict Verdict
	Audited bool // where Verdict is Allowed: the act belongs in the audit log
	Needs   Role // where Verdict is Refused: the Role that it takes; NoRole means an operator
}

// May says whether a principal may do an action on a resource. It is the only place that decides; what it does not know is refused.
func May(p Principal, a Action, r Resource) Access {
	rule, known := rules[a]
	member := p.Role != NoRole && p.Tenant != "" && p.Tenant == r.Tenant
	switch {
	case !known:
		return Access{Verdict: Refused}
	case r.Tenant != "" && !member && !p.Operator:
		return Access{Verdict: Unseen}
	case p.App != "" && r.App != "" && p.App != r.App:
		return Access{Verdict: Unseen}
	case !p.Operator && !(member && rule.reached(p, r)):
		return Access{Verdict: Refused, Needs: rule.least}
	case !rule.inScope(p, a, r):
		return Access{Verdict: OutOfScope}
	case r.Suspended && rule.writes && !p.Operator:
		return Access{Verdict: Suspended}
	}
	return Access{Verdict: Allowed, Audited: rule.writes && !rule.often || rule.payloads && !member}
}

// Writes tells whether the action changes something.
func (a Action) Writes() bool { return rules[a].writes }

func (r rule) reached(p Principal, on Resource) bool {
	return r.least != NoRole && p.Role >= r.least || r.own && on.StartedBy != "" && on.StartedBy == p.Subject
}

func (r rule) inScope(p Principal, a Action, on Resource) bool {
	if !p.Token {
		return true
	}
	if r.person && !p.Operator || p.App != "" && !r.bound && !(r.perApp && on.App != "") {
		return false
	}
	return len(p.Scopes) == 0 || slices.ContainsFunc(p.Scopes, func(s Scope) bool { return s.covers(a) })
}
