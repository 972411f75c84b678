package verify

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/strictjson"
)

// kind is a ProviderKind made ready: claims are found by the provider's name.
type kind struct {
	*agentidp.ProviderKind
	ours      map[string]agentidp.Claim
	bySubject bool // sub identifies
}

func compileKind(k *agentidp.ProviderKind) *kind {
	ours := make(map[string]agentidp.Claim, len(k.ClaimNames))
	for claim, theirs := range k.ClaimNames {
		ours[theirs] = claim
	}
	return &kind{ProviderKind: k, ours: ours, bySubject: slices.Contains(k.IdentityClaims, "sub")}
}

// read returns the claims that the kind knows, by exact name; the signature must be
// proven. All others are unknown, whatever they resemble, and change nothing.
// Claims that are malformed stay empty in what is returned beside the error.
func (k *kind) read(p *agentidp.Provider, u *Unverified) (*agentidp.Claims, error) {
	c, bad := k.fields(p, u)
	if bad != nil {
		return c, claimInvalid(bad)
	}
	c.ReplayKey = c.TokenID
	if c.ReplayKey == "" {
		sum := u.jws.SigningInputSum()
		c.ReplayKey = "sha256:" + hex.EncodeToString(sum[:])
	}
	return c, nil
}

// fields returns the claims that the kind knows, and what is wrong with them.
func (k *kind) fields(p *agentidp.Provider, u *Unverified) (c *agentidp.Claims, bad []agentidp.FieldError) {
	c = &agentidp.Claims{Provider: p.Name, Issuer: u.Issuer, Kind: k.ProviderKind, Source: (*provenToken)(u)}
	for i := range u.members {
		m := &u.members[i]
		claim, ok := k.ours[m.name]
		if !ok {
			continue
		}
		s, err := text(m.value)
		if err != nil {
			bad = append(bad, agentidp.FieldError{Field: m.name, Reason: err.Error()})
			continue
		}
		*c.Field(claim) = s
	}
	if k.bySubject {
		c.Subject, _ = c.Read("sub")
	}
	for _, claim := range k.Required {
		name := k.ClaimNames[claim]
		known := func(e agentidp.FieldError) bool { return e.Field == name }
		if *c.Field(claim) == "" && !slices.ContainsFunc(bad, known) {
			bad = append(bad, agentidp.FieldError{Field: name, Reason: "is missing or empty"})
		}
	}
	return c, bad
}

// provenToken is a token whose signature is proven.
type provenToken Unverified

// ReadClaim implements agentidp.ClaimSource. A number is what the token spells, not
// what it amounts to: an id beyond 2⁵³ would be equal to its neighbours.
func (t *provenToken) ReadClaim(name string) (string, bool) {
	value := (*Unverified)(t).member(name)
	if len(value) == 0 {
		return "", false
	}
	switch value[0] {
	case '"':
		s, err := text(value)
		if err != nil {
			return "", false
		}
		return s, true
	case '{', '[', 'n':
		return "", false
	}
	return string(value), len(value) <= maxText
}

// ReadJSON implements agentidp.ClaimSource.
func (t *provenToken) ReadJSON(name string) []byte { return (*Unverified)(t).member(name) }

// checkAudience requires exactly one audience, which is the organization's issuer
// or one that the provider lists. A token for several audiences could be presented
// here by any of the others.
func checkAudience(org *agentidp.Organization, p *agentidp.Provider, u *Unverified, c *agentidp.Claims) error {
	received := audiences(u.member("aud"))
	if len(received) == 1 {
		if c.Audience = received[0]; c.Audience != "" && (c.Audience == org.Issuer || slices.Contains(p.Audiences, c.Audience)) {
			return nil
		}
	}
	was, claims := "no audience that can be read", map[string]string{"aud": strings.Join(received, " ")}
	switch len(received) {
	case 0:
		claims = nil
	case 1:
		was = fmt.Sprintf("the audience %q", received[0])
	default:
		was = fmt.Sprintf("%d audiences", len(received))
	}
	return proven(agentidp.ReasonAudienceMismatch, fmt.Sprintf(
		"The subject token has %s; this server expects %q and no other. Request the ID token with audience=%s.",
		was, org.Issuer, org.Issuer), claims)
}

// audiences returns the values of aud: of a string, or of an array of strings. It
// returns nil where anything else is in it.
func audiences(value []byte) []string {
	if s, err := text(value); err == nil {
		return []string{s}
	}
	var list []string
	size := 0
	err := strictjson.Elements(value, 1, func(element []byte) error {
		s, err := text(element)
		if size += len(s); size > maxText {
			return errText
		}
		list = append(list, s)
		return err
	})
	if err != nil {
		return nil
	}
	return list
}
