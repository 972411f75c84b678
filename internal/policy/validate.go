package policy

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sentryagent/agentidp"
)

// Limits of a policy's fields.
const (
	maxRefLength         = 255
	maxPatternLength     = 254 // as long as an agent's name
	maxEnvironmentLength = 255 // characters, as GitHub counts
	maxAudienceLength    = 255
	maxDescriptionLength = 1000 // characters
	maxEvents            = 50
	maxScopes            = 100
	maxAudiences         = 20
	minTTLSeconds        = 60
	maxTTLSeconds        = 3600
	maxMaxAgents         = 1_000_000
)

// Validate returns what is wrong with a policy as its administrator wrote it,
// or in its normalized form: one error for every bad field or list element, with
// the remedy. kind is that of spec.Provider, nil where there is no such provider.
// It does not know whether the agent exists or whether the writer may give the
// scopes; weak is not wrong, see Warnings.
func Validate(spec *agentidp.TrustPolicySpec, kind *agentidp.ProviderKind, now time.Time) []agentidp.FieldError {
	var p problems
	p.provider(spec.Provider, kind)
	spec = p.within(spec, kind)
	p.whose(spec, kind)
	p.refs(spec)
	if spec.AgentID != "" && !agentidp.IsID(spec.AgentID) {
		p.add("agentId", "%sis not an agent's id. Give the UUID in lower case with hyphens, as GET /api/v1/agents lists it, or leave it out for a bootstrap policy.", said(spec.AgentID))
	}
	p.numericID("repositoryId", spec.RepositoryID)
	p.numericID("repositoryOwnerId", spec.RepositoryOwnerID)
	p.events(spec.Events)
	p.conditions(spec)
	p.acceptRisk(spec, kind)
	p.claims(spec.Claims, kind)
	p.condition(spec.Condition, kind)
	p.scopes(spec)
	p.audiences(spec)
	p.numbers(spec)
	p.namePattern(spec)
	if spec.TrustRegisteredAgents && !spec.Bootstrap() {
		p.add("trustRegisteredAgents", "is for policies without an agentId: only those register agents. Leave it out.")
	}
	switch spec.Mode {
	case "", agentidp.ModeEnforce, agentidp.ModeShadow, agentidp.ModeDisabled:
	default:
		p.add("mode", "%sis not a mode. Use enforce (the default), shadow or disabled.", said(string(spec.Mode)))
	}
	p.expiry(spec.ExpiresAt, now)
	p.description(spec.Description)
	return p
}

// problems collects field errors, so that bad input is refused whole and once.
type problems []agentidp.FieldError

func (p *problems) add(field, format string, args ...any) {
	*p = append(*p, agentidp.FieldError{Field: field, Reason: fmt.Sprintf(format, args...)})
}

// text adds a problem that one of the functions of names.go found, if it did.
func (p *problems) text(field, problem string) {
	if problem != "" {
		*p = append(*p, agentidp.FieldError{Field: field, Reason: problem})
	}
}

func (p *problems) provider(name string, kind *agentidp.ProviderKind) {
	switch {
	case name == "":
		p.add("provider", "is required. Name a registered provider; github is built in.")
	case kind == nil:
		p.add("provider", "%sis not a provider of this organization. Use github, in lower case, or one that GET /api/v1/oidc/providers lists.", said(name))
	}
}

func (p *problems) refs(spec *agentidp.TrustPolicySpec) {
	if spec.Branch != "" {
		p.text("branch", branchProblem(spec.Branch))
	}
	if spec.Tag != "" {
		p.text("tag", tagProblem(spec.Tag))
	}
	if spec.Branch != "" && spec.Tag != "" {
		p.add("tag", "cannot be combined with branch: a run is for one or the other. Make two policies.")
	}
}

func (p *problems) numericID(field, id string) {
	if id == "" {
		return
	}
	digits := strings.Trim(id, "0123456789") == ""
	if !digits || id[0] == '0' || len(id) > 20 {
		p.add(field, "%sis not a numeric id. Give the digits alone, as a string, for example \"74\"; "+
			"the API of the CI system's code host shows it as id.", said(id))
	}
}

func (p *problems) events(events []string) {
	p.list("events", len(events), maxEvents, events != nil)
	for i, event := range events {
		field := fmt.Sprintf("events[%d]", i)
		switch {
		case strings.Contains(event, "*"):
			p.add(field, "wildcards are not supported. Name each event that may start the run; leave events out for the safe default.")
		case event == "" || len(event) > 64 || strings.Trim(event, "abcdefghijklmnopqrstuvwxyz_") != "":
			p.add(field, "%sis not an event. Write it as the workflow does, in lower-case letters and underscores, for example push.", said(event))
		case slices.Contains(events[:i], event):
			p.add(field, "repeats %s. Leave it out.", event)
		}
	}
}

func (p *problems) conditions(spec *agentidp.TrustPolicySpec) {
	if spec.Environment != "" {
		p.text("environment", environmentProblem(spec.Environment))
	}
	if spec.Workflow != "" {
		p.text("workflow", workflowProblem(spec.Workflow))
	}
}

func (p *problems) scopes(spec *agentidp.TrustPolicySpec) {
	if spec.Bootstrap() && len(spec.Scopes) > 0 {
		p.add("scopes", "is for policies with an agentId; a bootstrap token always carries agents:write alone. Leave it out, or name the agent.")
		return
	}
	p.list("scopes", len(spec.Scopes), maxScopes, spec.Scopes != nil)
	for i, scope := range spec.Scopes {
		field := fmt.Sprintf("scopes[%d]", i)
		resource, action, ok := strings.Cut(scope, ":")
		switch {
		case strings.Contains(scope, "*"):
			p.add(field, "wildcards are not supported. Name each scope; leave scopes out for all capabilities of the agent.")
		case !agentidp.IsScopeToken(scope) || scope != agentidp.ScopeAdmin && (!ok || resource == "" || action == ""):
			p.add(field, "%sis not a scope. Write resource:action, for example deploy:production, in at most 128 printable ASCII characters without spaces, quotes or backslashes.", said(scope))
		case slices.Contains(spec.Scopes[:i], scope):
			p.add(field, "repeats %s. Leave it out.", scope)
		}
	}
}

func (p *problems) audiences(spec *agentidp.TrustPolicySpec) {
	if spec.Bootstrap() && len(spec.Audiences) > 0 {
		p.add("audiences", "is for policies with an agentId; a bootstrap token is always for the management API. Leave it out, or name the agent.")
		return
	}
	p.list("audiences", len(spec.Audiences), maxAudiences, spec.Audiences != nil)
	for i, audience := range spec.Audiences {
		field := fmt.Sprintf("audiences[%d]", i)
		switch {
		case !IsAudience(audience):
			p.add(field, "%sis not an absolute URI without a fragment (RFC 8707) of at most %d ASCII characters. Write the service's own URL, for example https://deploy.example.com.", said(audience), maxAudienceLength)
		case slices.Contains(spec.Audiences[:i], audience):
			p.add(field, "repeats %s. Leave it out.", said(audience))
		}
	}
}

// IsAudience reports whether s may be an audience: an absolute URI without a
// fragment (RFC 8707 §2), at most 255 ASCII characters long.
func IsAudience(s string) bool {
	if len(s) > maxAudienceLength {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || strings.IndexByte("#\"<>\\^`{|}", c) >= 0 {
			return false
		}
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" {
		return false
	}
	if u.Scheme == "https" || u.Scheme == "http" {
		return u.Hostname() != ""
	}
	return u.Opaque != "" || u.Host != "" || u.Path != ""
}

// list judges a list as a whole. A list that is there but empty would be taken
// for an absent one, and so mean everything where its author meant nothing.
func (p *problems) list(field string, n, most int, present bool) {
	switch {
	case present && n == 0:
		p.add(field, "is empty. Leave it out for the default, or name at least one.")
	case n > most:
		p.add(field, "has %d elements; at most %d are possible.", n, most)
	}
}

func (p *problems) numbers(spec *agentidp.TrustPolicySpec) {
	if ttl := spec.TokenTTLSeconds; ttl != 0 && (ttl < minTTLSeconds || ttl > maxTTLSeconds) {
		p.add("tokenTtlSeconds", "%d is out of range. Give %d to %d seconds, or leave it out for the server's default.", ttl, minTTLSeconds, maxTTLSeconds)
	}
	switch n := spec.MaxAgents; {
	case n == 0:
	case !spec.Bootstrap():
		p.add("maxAgents", "is for policies without an agentId: only those register agents. Leave it out.")
	case n < 1 || n > maxMaxAgents:
		p.add("maxAgents", "%d is out of range. Give 1 to %d, or leave it out for %d.", n, maxMaxAgents, defaultMaxAgents)
	}
}

func (p *problems) namePattern(spec *agentidp.TrustPolicySpec) {
	pattern := spec.AgentNamePattern
	switch {
	case pattern == "":
	case !spec.Bootstrap():
		p.add("agentNamePattern", "is for policies without an agentId: only those register agents. Leave it out.")
	case strings.Trim(pattern, asciiGraphic) != "" || strings.ContainsAny(pattern, `?[]{}()|^$\`):
		p.add("agentNamePattern", "must be printable ASCII without spaces, in which only * is special, for example *@ci.acme.example.")
	default:
		p.text("agentNamePattern", textProblem(pattern, maxPatternLength))
	}
}

func (p *problems) expiry(at *time.Time, now time.Time) {
	switch {
	case at == nil:
	case !at.After(now) || !stored(*at).After(now):
		p.add("expiresAt", "must be in the future; it is now %s. To end a policy at once, disable or delete it.", now.UTC().Format(time.RFC3339))
	case at.UTC().Year() > 9999: // RFC 3339 has no such year.
		p.add("expiresAt", "is beyond the year 9999. Leave it out for a policy that does not expire.")
	}
}

func (p *problems) description(s string) {
	switch {
	case !utf8.ValidString(s):
		p.add("description", "is not valid UTF-8.")
	case utf8.RuneCountInString(s) > maxDescriptionLength:
		p.add("description", "is longer than %d characters.", maxDescriptionLength)
	case strings.ContainsFunc(s, isControl):
		p.add("description", "contains control characters or line breaks. Write it on one line.")
	}
}
