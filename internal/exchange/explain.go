package exchange

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/store"
	"github.com/sentryagent/agentidp/internal/verify"
)

// defaultProvider is whose claims are those that name no issuer.
const defaultProvider = "github"

// Explain tells how an exchange would be decided now, by the steps of Exchange up to the
// decision and with what the database holds now. It writes nothing, counts nothing and
// uses nothing up; whether the token was exchanged before, and limits, it does not look
// at. An issuer that is no provider's causes no network.
//
// What the exchange would refuse for the request's own form is refused here with the same
// error. Errors: Invalid, TooLarge, NotFound (the organization is closed), Unavailable.
func (x *Exchanger) Explain(ctx context.Context, org *agentidp.Organization, req *agentidp.ExplainRequest) (*agentidp.Explanation, error) {
	scopes, err := checkExplain(req)
	if err != nil {
		return nil, err
	}
	if org, err = x.Organization(ctx, org.Slug); err != nil {
		return nil, err
	}
	s, err := x.subjectOf(ctx, org, req)
	if err != nil {
		return nil, err
	}
	e := &agentidp.Explanation{Checks: []agentidp.Check{}}
	if s.provider != nil {
		e.Provider = s.provider.Name
	}
	if s.claims == nil { // nothing is proven, so there is nothing to hold policies against
		s.refuse(e, nil)
		e.Hint = sentences(s.hints)
		return e, nil
	}
	a := &attempt{
		Exchanger: x, org: org, provider: s.provider, read: true, claims: s.claims, scopes: scopes,
		request: &Request{AgentID: req.AgentID, Scope: req.Scope, Audience: req.Audience},
	}
	if s.refused == nil && !s.claims.IssuedAt.IsZero() {
		s.refused = a.notSinceRestore()
		s.byTime = s.refused != nil
	}
	out, _, err := a.decide(ctx, true)
	if err != nil {
		return nil, unavailable(err)
	}
	tell(e, out)
	switch {
	case s.refused != nil:
		s.refuse(e, a.checksOfToken(agentidp.AsError(s.refused)))
	case e.Allowed && req.Token != "" && s.provider.Replay != agentidp.ReplayAllow:
		s.hints = append(s.hints, "Whether this token was exchanged before was not looked at: each is good for one exchange.")
	}
	e.Hint = sentences(s.hints)
	return e, nil
}

// checkExplain is check for a request to explain, which has a token or claims.
func checkExplain(req *agentidp.ExplainRequest) ([]string, error) {
	claims := len(req.Claims) > 0 && !bytes.Equal(req.Claims, []byte("null"))
	r := &Request{Token: req.Token, AgentID: req.AgentID, Scope: req.Scope, Audience: req.Audience}
	switch {
	case claims && req.Token != "":
		r.Bad = append(r.Bad, agentidp.FieldError{Field: "claims", Reason: "are given beside token; give one of them"})
	case claims:
		r.Token = "-" // there is none, and none is missing
	case req.Token == "":
		r.Bad = append(r.Bad, agentidp.FieldError{Field: "token", Reason: "is required, or claims in its place"})
	}
	return r.check()
}

// subject is what is explained: claims, and what keeps their token from being exchanged
// whatever policies say.
type subject struct {
	provider *agentidp.Provider // nil: the issuer is no provider's
	claims   *agentidp.Claims   // nil: none is proven
	refused  error              // of the token itself; nil: nothing
	byTime   bool               // refused is about its time alone: a fresh one is not
	hints    []string
}

// subjectOf is steps 2 and 3 of an exchange: whose the claims are, and whether they are
// good. What the exchange would refuse as invalid_token is no error here.
func (x *Exchanger) subjectOf(ctx context.Context, org *agentidp.Organization, req *agentidp.ExplainRequest) (*subject, error) {
	s := &subject{}
	var err error
	if req.Token != "" {
		err = x.ofToken(ctx, org, req, s)
	} else {
		err = x.ofClaims(ctx, org, req, s)
	}
	refused, ok := errors.AsType[*agentidp.Error](err)
	if !ok || refused.Kind != agentidp.Unauthenticated {
		return s, err
	}
	s.refused = refused
	s.byTime = refused.Reason == agentidp.ReasonTokenExpired || refused.Reason == agentidp.ReasonTokenNotYetValid
	return s, nil
}

func (x *Exchanger) ofToken(ctx context.Context, org *agentidp.Organization, req *agentidp.ExplainRequest, s *subject) error {
	unverified, err := verify.Peek(req.Token)
	if err != nil {
		return err
	}
	if s.provider, _, err = x.provider(ctx, org, unverified.Issuer, true); err != nil {
		return err
	}
	if req.Provider != "" && req.Provider != s.provider.Name {
		return agentidp.InvalidFields(agentidp.FieldError{Field: "provider",
			Reason: fmt.Sprintf("is not the one whose issuer the token names, which is %s; leave it out", s.provider.Name)})
	}
	s.claims, err = x.Verifier.Verify(ctx, org, s.provider, unverified)
	return err
}

func (x *Exchanger) ofClaims(ctx context.Context, org *agentidp.Organization, req *agentidp.ExplainRequest, s *subject) error {
	pasted, err := verify.Paste(req.Claims)
	if err != nil {
		return err
	}
	switch {
	case req.Provider != "" || pasted.Issuer == "":
		s.provider, err = x.named(ctx, org, cmp.Or(req.Provider, defaultProvider))
	default:
		s.provider, _, err = x.provider(ctx, org, pasted.Issuer, true)
	}
	if err != nil {
		return err
	}
	var unseen []string
	s.claims, unseen, err = x.Verifier.Suppose(org, s.provider, pasted)
	if s.claims == nil {
		return err
	}
	if req.Provider == "" && pasted.Issuer == "" {
		s.hints = append(s.hints, "The claims name no iss, and were taken for those of provider "+defaultProvider+".")
	}
	if slices.Contains(unseen, "aud") {
		s.hints = append(s.hints, "The claims name no aud, so it was not looked at: the ID token is to be requested with audience="+org.Issuer+".")
	}
	if slices.Contains(unseen, "exp") && slices.Contains(unseen, "iat") {
		s.hints = append(s.hints, "The claims name no exp and iat, so the token's times were not looked at.")
	}
	return err
}

// named finds a provider by its name.
func (x *Exchanger) named(ctx context.Context, org *agentidp.Organization, name string) (*agentidp.Provider, error) {
	for _, p := range x.Providers {
		if p.Name == name {
			return p, nil
		}
	}
	err := store.ErrNotFound
	var p *agentidp.Provider
	if !strings.Contains(name, "\x00") { // which no text in storage has
		p, err = x.DB.Provider(ctx, org.ID, name)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, agentidp.InvalidFields(agentidp.FieldError{Field: "provider",
			Reason: "is not a provider of this organization. Use github, in lower case, or one that GET /api/v1/oidc/providers lists"})
	case err != nil:
		return nil, unavailable(err)
	}
	return p, nil
}

// tell fills in what the policies say.
func tell(e *agentidp.Explanation, out *policy.Outcome) {
	e.Allowed, e.Checks, e.Nearest, e.Shadow = out.Granted, out.Checks, out.Nearest, out.Shadow
	if out.Policy != nil {
		e.PolicyID = out.Policy.ID
	}
	if out.Granted {
		e.Scope, e.Audience, e.Seconds = strings.Join(out.Scopes, " "), out.Audience, int64(out.TTL/time.Second)
		return
	}
	e.Code, e.Message = out.Err.Code, out.Err.Message
}

// refuse adds that the token itself is refused, and by which checks, whatever was told of
// the policies.
func (s *subject) refuse(e *agentidp.Explanation, checks []agentidp.Check) {
	refused := agentidp.AsError(s.refused)
	e.Reason = verify.Reason(refused)
	switch {
	case s.byTime:
		s.hints = slices.Insert(s.hints, 0, "The token itself is refused now: "+refused.Message+" What is told here is how a fresh one with the same claims would fare.")
		return
	case s.claims == nil || e.Reason != refused.Reason: // strangers are told no more than that it is not acceptable
		s.hints = slices.Insert(s.hints, 0, unacceptable(s.provider, e.Reason, detail(errors.Unwrap(refused))))
	}
	if s.claims != nil {
		said := "Apart from that the policies would grant it."
		if !e.Allowed {
			said = "The policies would refuse it besides: " + e.Code + "."
		}
		s.hints = append(s.hints, said)
		e.Checks = append(checks, e.Checks...)
	}
	e.Allowed, e.Code, e.Message = false, refused.Code, refused.Message
	e.Scope, e.Audience, e.Seconds = "", "", 0
}

// unacceptable says to the administrator what the exchange tells nobody, and where to
// look.
func unacceptable(p *agentidp.Provider, reason, why string) string {
	switch {
	case reason == verify.ReasonIssuer:
		return "What the caller is not told is why: " + why + ". Register it (agentidp provider create), or take the token of a CI system that is registered (agentidp provider list)."
	case p != nil:
		return "What the caller is not told is why: " + why + ". agentidp provider test " + p.Name + " shows the keys of its issuer."
	}
	return "What the caller is not told is why: " + why + "."
}

func sentences(s []string) string { return strings.Join(s, " ") }
