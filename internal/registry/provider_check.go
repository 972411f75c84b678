package registry

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/verify"
)

// Limits of a provider's fields.
const (
	maxIssuerLength    = 1024 // of iss, in a token
	maxAudienceLength  = 255
	maxAudiences       = 20
	minTokenAgeSeconds = 60
	maxTokenAgeSeconds = 86400
)

// CheckProvider returns what is wrong with a provider in itself: one error for every
// bad field. It asks nobody.
func (r *Registry) CheckProvider(org *agentidp.Organization, spec agentidp.ProviderSpec) []agentidp.FieldError {
	var bad agentidp.FieldErrors
	kind := r.Kinds[cmp.Or(spec.Kind, defaultKind)]
	if !isSlug(spec.Name) {
		bad.Refuse("name", fmt.Sprintf("must be lower-case letters, digits and inner hyphens, %d at most, such as ghes", maxSlug))
	}
	if kind == nil {
		bad.Refuse("kind", "is none that this server knows: "+strings.Join(slices.Sorted(maps.Keys(r.Kinds)), ", "))
		kind = &agentidp.ProviderKind{}
	}
	r.checkIssuer(&bad, kind, &spec)
	r.checkKeys(&bad, kind, &spec)
	checkAlgorithms(&bad, spec.Algorithms)
	r.checkAudiences(&bad, org, &spec)
	if s := spec.MaxTokenAgeSeconds; s != 0 && (s < minTokenAgeSeconds || s > maxTokenAgeSeconds) {
		bad.Refuse("maxTokenAgeSeconds", fmt.Sprintf("must be from %d to %d", minTokenAgeSeconds, maxTokenAgeSeconds))
	}
	agentidp.OneOf(&bad, "replay", spec.Replay, agentidp.ReplayReject, agentidp.ReplayAllow)
	return bad
}

// CheckReplacement is CheckProvider for what is to take the place of old.
func (r *Registry) CheckReplacement(org *agentidp.Organization, old *agentidp.Provider, spec agentidp.ProviderSpec) []agentidp.FieldError {
	var bad agentidp.FieldErrors
	for _, f := range []struct{ field, old, new string }{
		{"name", old.Name, spec.Name}, {"kind", old.Kind, spec.Kind}, {"issuer", old.Issuer, spec.Issuer},
	} {
		if f.old != f.new {
			bad.Refuse(f.field, "cannot change: delete this provider and register another")
		}
	}
	if len(bad) > 0 {
		return bad
	}
	return r.CheckProvider(org, spec)
}

// checkIssuer refuses what no token's iss should be, and ourselves: with our own tokens
// for subject tokens, whoever has one could make it another.
func (r *Registry) checkIssuer(bad *agentidp.FieldErrors, kind *agentidp.ProviderKind, spec *agentidp.ProviderSpec) {
	u, err := url.Parse(spec.Issuer)
	switch {
	case len(spec.Issuer) > maxIssuerLength:
		bad.Refuse("issuer", fmt.Sprintf("is longer than %d bytes", maxIssuerLength))
	case err != nil || !isPlain(spec.Issuer) || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || strings.ContainsAny(spec.Issuer, "?#"):
		bad.Refuse("issuer", "is not an https URL without user, query and fragment; give the tokens' iss as it is, byte for byte")
	case r.isOurs(u):
		bad.Refuse("issuer", "is this server itself, and its own tokens must not buy others; give the issuer of your CI or workload")
	case kind.JWKSPath != "" && strings.HasSuffix(spec.Issuer, "/"):
		bad.Refuse("issuer", "ends in a slash, which no issuer of kind "+kind.Name+" does; give the tokens' iss as it is, byte for byte")
	case spec.JWKSURI == "" && compact(spec.JWKS) == nil: // the issuer itself will be asked
		if err := r.Verifier.CheckIssuer(spec.Issuer); err != nil {
			bad.Refuse("issuer", err.Error())
		}
	case u.Scheme == "http" && r.Verifier.CheckIssuer(spec.Issuer) != nil:
		bad.Refuse("issuer", "uses plain http, which no issuer may (OpenID Connect Core 1.0 §2)")
	}
}

// checkKeys judges the keys, or where they are.
func (r *Registry) checkKeys(bad *agentidp.FieldErrors, kind *agentidp.ProviderKind, spec *agentidp.ProviderSpec) {
	jwks := compact(spec.JWKS)
	if spec.JWKSURI != "" {
		u, err := url.Parse(spec.JWKSURI)
		if problem := r.Verifier.CheckAddress(spec.JWKSURI); problem != nil {
			bad.Refuse("jwksUri", problem.Error())
		} else if err == nil && r.isOurs(u) {
			bad.Refuse("jwksUri", "leads to this server itself, whose keys are no other issuer's")
		}
		if jwks != nil {
			bad.Refuse("jwks", "cannot be combined with jwksUri; give the keys or where they are")
		}
		return
	}
	if jwks == nil {
		return
	}
	if private := privateMembers(jwks); private != "" {
		bad.Refuse("jwks", "has "+private+", which is private or symmetric: whoever sees it can make tokens. Give public keys alone, and replace the key that was shown here")
		return
	}
	algorithms := spec.Algorithms
	if len(algorithms) == 0 {
		algorithms = kind.Algorithms
	}
	keys, err := verify.ReportKeys(jwks, algorithms)
	if err != nil {
		bad.Refuse("jwks", "is not a JWK set, {\"keys\": [...]} (RFC 7517): "+err.Error())
		return
	}
	var problems []string
	for i, k := range keys {
		if k.Problem == "" {
			return
		}
		problems = append(problems, fmt.Sprintf("keys[%d]: %s", i, k.Problem))
	}
	bad.Refuse("jwks", strings.Join(append([]string{"has no key that tokens can be verified with"}, problems[:min(3, len(problems))]...), "; "))
}

// privateNames are the members of a JWK that make it private or symmetric (RFC 7518
// §6.2.2, §6.3.2, §6.4.1).
var privateNames = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// privateMembers names a private member of a key set, wherever it stands, or returns "":
// whoever shows a key outside of keys has shown it, too.
func privateMembers(jwks []byte) string {
	var set any
	if json.Unmarshal(jwks, &set) != nil {
		return "" // what it is instead is told elsewhere
	}
	return privateIn("", set)
}

func privateIn(path string, v any) string {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			at := strings.TrimPrefix(path+"."+name, ".")
			if slices.Contains(privateNames, name) {
				return at
			}
			if found := privateIn(at, v[name]); found != "" {
				return found
			}
		}
	case []any:
		for i := range v {
			if found := privateIn(fmt.Sprintf("%s[%d]", path, i), v[i]); found != "" {
				return found
			}
		}
	}
	return ""
}

func checkAlgorithms(bad *agentidp.FieldErrors, algorithms []string) {
	for i, alg := range algorithms {
		field := fmt.Sprintf("algorithms[%d]", i)
		switch {
		case !slices.Contains(jose.Algorithms, alg):
			bad.Refuse(field, "is none of "+strings.Join(jose.Algorithms, ", "))
		case slices.Contains(algorithms[:i], alg):
			bad.Refuse(field, "stands in the list twice")
		}
	}
}

// checkAudiences refuses audiences that would let in tokens that are meant for others.
func (r *Registry) checkAudiences(bad *agentidp.FieldErrors, org *agentidp.Organization, spec *agentidp.ProviderSpec) {
	if len(spec.Audiences) > maxAudiences {
		bad.Refuse("audiences", fmt.Sprintf("has more than %d entries", maxAudiences))
	}
	for i, aud := range spec.Audiences {
		field := fmt.Sprintf("audiences[%d]", i)
		u, err := url.Parse(aud)
		switch {
		case aud == "" || len(aud) > maxAudienceLength || !isPlain(aud) || strings.ContainsAny(aud, `"\*`):
			bad.Refuse(field, fmt.Sprintf("must be 1 to %d printable ASCII characters without spaces, quotes, backslashes and wildcards, as it stands in the tokens' aud", maxAudienceLength))
		case slices.Contains(spec.Audiences[:i], aud):
			bad.Refuse(field, "stands in the list twice")
		case aud == org.Issuer:
			bad.Refuse(field, "is accepted anyway; leave it out")
		case aud == org.TokenEndpoint(): // what MCP's workloads have in their tokens
		case err == nil && u.Host != "" && r.isOurs(u):
			bad.Refuse(field, "is an address of this server; the organization's issuer URL, "+org.Issuer+", is accepted anyway, and of the others only its token endpoint, "+org.TokenEndpoint()+", is meant for it")
		case err == nil && isDefaultAudience(u, spec.Issuer):
			bad.Refuse(field, "is what GitHub puts into tokens for which nobody named an audience, so it is in tokens meant for others; have the workflow request its token for "+org.Issuer)
		}
	}
}

// isDefaultAudience recognizes https://github.com/OWNER, and the same of the host that
// the issuer belongs to.
func isDefaultAudience(u *url.URL, issuer string) bool {
	owner := strings.Trim(u.Path, "/")
	if u.Scheme != "https" && u.Scheme != "http" || owner == "" || strings.Contains(owner, "/") {
		return false
	}
	hosts := []string{"github.com"}
	if from, err := url.Parse(issuer); err == nil {
		hosts = append(hosts, host(from), strings.TrimPrefix(host(from), "token.actions."))
	}
	return slices.Contains(hosts, host(u))
}

// isOurs reports whether a URL is one of this server's, in whatever spelling: the public
// URL has no path, so that everything at its host and port is.
func (r *Registry) isOurs(u *url.URL) bool {
	public, err := url.Parse(r.PublicURL)
	return err == nil && host(u) == host(public) && port(u) == port(public)
}

// host returns the one spelling of a URL's host. All names of this machine are one.
func host(u *url.URL) string {
	name := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if addr, err := netip.ParseAddr(name); err == nil && addr.Unmap().IsLoopback() {
		return "localhost"
	}
	return name
}

// port returns a URL's port; those of http and https are one.
func port(u *url.URL) string {
	p := strings.TrimLeft(u.Port(), "0")
	if p == "80" || p == "443" {
		return ""
	}
	return p
}

// isPlain reports whether s is printable ASCII without spaces.
func isPlain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
