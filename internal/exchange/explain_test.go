package exchange_test

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/emulator"
	"github.com/sentryagent/agentidp/internal/exchange"
	"github.com/sentryagent/agentidp/internal/keys"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/providers"
	"github.com/sentryagent/agentidp/internal/store"
	"github.com/sentryagent/agentidp/internal/token"
	"github.com/sentryagent/agentidp/internal/verify"
)

// TestMain sets other defaults for the flags of rapid: fewer draws, for one takes some
// commits, and no files of failed ones, for the seed is printed.
func TestMain(m *testing.M) {
	flag.Parse()
	for name, value := range map[string]string{"rapid.checks": "60", "rapid.nofailfile": "true"} {
		if f := flag.Lookup(name); f.Value.String() == f.DefValue {
			if err := f.Value.Set(value); err != nil {
				panic(err)
			}
		}
	}
	m.Run()
}

const (
	issuer  = "https://idp.example"
	service = "https://deploy.example.com"
)

// desk is an exchanger with a database, two issuers of GitHub's tokens, and a clock that
// stands still.
type desk struct {
	t        testing.TB
	db       *store.DB
	x        *exchange.Exchanger
	org      *agentidp.Organization
	now      time.Time
	cis      map[string]*emulator.Emulator // by provider
	kind     *agentidp.ProviderKind
	agents   []string // active, active, suspended
	observed int
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), cis: map[string]*emulator.Emulator{}}
	clock := func() time.Time { return d.now }
	var err error
	if d.db, err = store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "t.db"), store.Options{Clock: clock}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.db.Close() }) // nothing is asked of it any more
	if err := d.db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	master, err := keys.Unlock(t.Context(), d.db, keys.MasterKeySource{Value: base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))})
	if err != nil {
		t.Fatal(err)
	}
	kinds, err := providers.Kinds()
	if err != nil {
		t.Fatal(err)
	}
	d.kind = kinds["github"]
	github := d.ci("github", "https://token.example")
	verifier := verify.New(verify.Config{Kinds: kinds, Clock: clock})
	t.Cleanup(verifier.Close)
	d.org = &agentidp.Organization{ID: "a", Slug: "default", Issuer: issuer, Status: agentidp.OrganizationActive, Revision: 1}
	d.write(func(tx *store.Tx) error { return tx.CreateOrganization(t.Context(), d.org) })
	ghes := d.ci("ghes", "https://ghes.example")
	ghes.ID, ghes.OrganizationID, ghes.CreatedAt, ghes.Revision = agentidp.NewID(d.now), d.org.ID, d.now, 1
	d.write(func(tx *store.Tx) error { return tx.CreateProvider(t.Context(), ghes) })
	for _, status := range []agentidp.AgentStatus{agentidp.AgentActive, agentidp.AgentActive, agentidp.AgentSuspended} {
		a := &agentidp.Agent{AgentID: agentidp.NewID(d.now), OrganizationID: d.org.ID, Status: status, CreatedAt: d.now, UpdatedAt: d.now, Revision: 1}
		a.Name, a.Capabilities = a.AgentID+"@ci.acme.example", []string{"deploy:staging", "deploy:production"}
		d.write(func(tx *store.Tx) error { return tx.CreateAgent(t.Context(), a) })
		d.agents = append(d.agents, a.AgentID)
	}
	d.x = exchange.New(exchange.Config{
		DB: d.db, Verifier: verifier, Tokens: token.New(d.db, keys.NewRing(d.db, master, "ES256", clock), clock, 0), Organization: d.organization,
		Providers: []*agentidp.Provider{github}, TokenTTL: 15 * time.Minute, RefusalsPerMinute: 1_000_000, Agents: token.NewAgentLimit(0),
		Clock: clock, Logger: slog.New(slog.DiscardHandler), Observe: func(exchange.Result) { d.observed++ },
	})
	return d
}

// ci makes an issuer, whose keys need not be fetched.
func (d *desk) ci(name, url string) *agentidp.Provider {
	d.t.Helper()
	ci, err := emulator.New(emulator.Config{Issuer: url, Run: emulator.Run{Repository: "acme/deploy"}, Clock: func() time.Time { return d.now }})
	if err != nil {
		d.t.Fatal(err)
	}
	d.cis[name] = ci
	w := httptest.NewRecorder()
	ci.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/.well-known/jwks", nil))
	return &agentidp.Provider{Name: name, Kind: "github", Issuer: url, Algorithms: []string{"RS256"}, JWKS: w.Body.Bytes(), MaxTokenAge: time.Hour, Replay: agentidp.ReplayReject}
}

func (d *desk) organization(ctx context.Context, slug string) (*agentidp.Organization, error) {
	org, err := d.db.Organization(ctx, slug)
	if err == nil {
		org.Issuer = issuer
	}
	return org, err
}

func (d *desk) write(fn func(tx *store.Tx) error) {
	d.t.Helper()
	if err := d.db.Write(d.t.Context(), fn); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) policy(spec agentidp.TrustPolicySpec) {
	d.t.Helper()
	p := &agentidp.TrustPolicy{ID: agentidp.NewID(d.now), OrganizationID: d.org.ID, TrustPolicySpec: policy.Normalize(spec, d.kind), CreatedAt: d.now, UpdatedAt: d.now, Revision: 1}
	d.write(func(tx *store.Tx) error { return tx.CreatePolicy(d.t.Context(), p, p.ID) })
}

// mint returns a token, and its claims as it spells them.
func (d *desk) mint(provider, audience string, claims map[string]any) (string, json.RawMessage) {
	d.t.Helper()
	raw, err := d.cis[provider].Mint(emulator.Options{Audience: audience, Claims: claims})
	if err != nil {
		d.t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	if err != nil {
		d.t.Fatal(err)
	}
	return raw, payload
}

// traces are what an exchange leaves behind.
type traces struct {
	Store    store.Stats
	Observed int
	Refusals *agentidp.Refusals
}

func (d *desk) traces() traces { return traces{d.db.Stats(), d.observed, d.x.Refusals().Of(d.org.ID)} }

// explain explains, and asserts that nothing is left behind.
func (d *desk) explain(r *rapid.T, req agentidp.ExplainRequest) (*agentidp.Explanation, error) {
	before := d.traces()
	e, err := d.x.Explain(d.t.Context(), d.org, &req)
	if diff := gocmp.Diff(before, d.traces()); diff != "" {
		r.Errorf("explaining leaves behind:\n%s", diff)
	}
	return e, err
}

// exchanged makes the exchange, and says of it what an explanation says.
func (d *desk) exchanged(r *rapid.T, req exchange.Request) (*agentidp.Explanation, error) {
	resp, err := d.x.Exchange(d.t.Context(), d.org, &req)
	e := &agentidp.Explanation{Allowed: err == nil}
	var id string
	if err != nil {
		refused, ok := errors.AsType[*agentidp.Error](err)
		if !ok || refused.Kind == agentidp.Internal || refused.Kind == agentidp.Unavailable {
			r.Fatalf("the exchange failed: %v", err)
		}
		e.Code, e.Message, e.Reason, id = refused.Code, refused.Message, refused.Reason, refused.DecisionID
		if id == "" {
			return e, err
		}
	} else {
		id, e.Scope, e.Seconds = resp.DecisionID, resp.Scope, resp.ExpiresIn
	}
	decision, err := d.db.Decision(d.t.Context(), d.org.ID, id)
	if err != nil {
		r.Fatal(err)
	}
	e.Provider, e.PolicyID, e.Checks, e.Nearest, e.Shadow = decision.Provider, decision.PolicyID, decision.Checks, decision.Nearest, decision.Shadow
	if e.Allowed {
		rec, err := d.db.Token(d.t.Context(), d.org.ID, decision.TokenID)
		if err != nil {
			r.Fatal(err)
		}
		e.Audience = rec.Audience
	}
	return e, nil
}

// What is told of an exchange is what it does: for any policies, and for any token and
// request.
func TestExplainAndExchangeAgree(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	round, seen := 0, map[string]int{}
	rapid.Check(t, func(r *rapid.T) {
		round++
		run := &run{desk: d, T: r, repository: fmt.Sprint("acme/r", round), id: fmt.Sprint(round), seen: seen}
		if rapid.Bool().Draw(r, "a usual policy") {
			d.policy(agentidp.TrustPolicySpec{Provider: "github", Repository: run.repository, Branch: "main", AgentID: d.agents[0], Mode: agentidp.ModeEnforce})
		}
		for range rapid.IntRange(0, 5).Draw(r, "policies") {
			d.policy(run.drawPolicy())
		}
		for range rapid.IntRange(1, 6).Draw(r, "exchanges") {
			run.agree()
		}
	})
	if seen["granted"] == 0 {
		t.Errorf("the exchanges are too much alike: %v", seen)
	}
}

// run draws what is about one repository, which no other has.
type run struct {
	*desk
	*rapid.T

	repository, id string
	seen           map[string]int
}

func draw[V any](r *run, label string, values ...V) V {
	return rapid.SampledFrom(values).Draw(r.T, label)
}

func (r *run) drawPolicy() agentidp.TrustPolicySpec {
	expires := []*time.Time{nil, nil, nil, new(r.now.Add(30 * time.Second)), new(r.now)}
	spec := agentidp.TrustPolicySpec{
		Provider:    draw(r, "provider", "github", "github", "github", "github", "ghes"),
		Repository:  draw(r, "repository", r.repository, strings.ToUpper(r.repository)),
		AgentID:     draw(r, "agent", append(slices.Clone(r.agents), r.agents[0], r.agents[0], "")...),
		Events:      draw(r, "events", nil, nil, []string{"push"}, []string{"push", "pull_request_target"}),
		Mode:        draw(r, "mode", agentidp.ModeEnforce, agentidp.ModeEnforce, agentidp.ModeEnforce, agentidp.ModeShadow, agentidp.ModeDisabled),
		Environment: draw(r, "environment", "", "", "", "", "", "production"),
		Workflow:    draw(r, "workflow", "", "", "", "", "", ".github/workflows/deploy.yml", ".github/workflows/other.yml"),
		Condition:   draw(r, "condition", "", "", "", "", "", `claims.actor == "octocat"`, `claims.actor == "mallory"`),
		Claims:      draw(r, "claims", nil, nil, nil, nil, agentidp.ClaimConditions{"runner_environment": {"self-hosted", "github-hosted"}}, agentidp.ClaimConditions{"actor": {"mallory"}}),
		ExpiresAt:   draw(r, "expires", expires...),

		RepositoryID: draw(r, "repository id", "", "", "", "", r.id, "9"),
	}
	switch draw(r, "ref", "branch", "any", "tag", "any") {
	case "branch":
		spec.Branch = draw(r, "branch", "main", "release/1")
	case "tag":
		spec.Tag = "v*"
	}
	if spec.AgentID != "" {
		spec.Scopes = draw(r, "scopes", nil, []string{"deploy:staging"})
		spec.Audiences = draw(r, "audiences", nil, []string{service, issuer})
		spec.TokenTTLSeconds = draw(r, "ttl", 0, 60)
	}
	return spec
}

// drawClaims returns the claims of a run, and those about its time alone.
func (r *run) drawClaims() (claims, times map[string]any) {
	claims = map[string]any{
		"repository":          draw(r, "run of", r.repository, r.repository, r.repository, r.repository, r.repository, strings.ToUpper(r.repository), "acme/renamed"+r.id),
		"repository_id":       draw(r, "id", r.id, r.id, r.id, r.id+"000"),
		"repository_owner_id": draw(r, "owner", "65", "65", "65", "65", "65", "66"),
		"event_name":          draw(r, "event", "push", "push", "push", "pull_request_target", "workflow_dispatch"),
		"runner_environment":  draw(r, "runner", "github-hosted", "self-hosted", "other"),
		"actor":               draw(r, "actor", "octocat", "mallory"),
	}
	ref := draw(r, "run on", "refs/heads/main", "refs/heads/main", "refs/heads/release/1", "refs/tags/v1", "refs/pull/1/merge")
	claims["ref"], claims["ref_type"] = ref, "branch"
	if strings.HasPrefix(ref, "refs/tags/") {
		claims["ref_type"] = "tag"
	}
	claims["job_workflow_ref"] = fmt.Sprintf("%s/.github/workflows/deploy.yml@%s", claims["repository"], ref)
	if rapid.Bool().Draw(r.T, "in an environment") {
		claims["environment"] = "production"
	}
	if draw(r, "form", "right", "right", "right", "right", "right", "right", "right", "wrong") == "wrong" {
		claims["sha"] = draw[any](r, "sha", 7, nil, strings.Repeat("x", 2000), map[string]any{"a": "b"})
	}
	const expired, future, long = -time.Hour, time.Hour, 2 * time.Hour
	switch at := draw(r, "times", 0, 0, 0, 0, 0, 0, 0, expired, future, long); at {
	case 0:
	case long: // which is no matter of the time
		claims["exp"] = r.now.Add(long).Unix()
	default:
		times = map[string]any{"iat": r.now.Add(at).Unix(), "nbf": r.now.Add(at).Unix(), "exp": r.now.Add(at + 5*time.Minute).Unix()}
	}
	return claims, times
}

// agree draws an exchange, has it explained by its token and by its claims, and makes it.
func (r *run) agree() {
	provider := draw(r, "of provider", "github", "github", "github", "github", "ghes")
	audience := draw(r, "for", issuer, issuer, issuer, issuer, issuer, "https://other.example")
	claims, times := r.drawClaims()
	raw, payload := r.mint(provider, audience, merged(claims, times))
	req := exchange.Request{
		Token:    raw,
		AgentID:  draw(r, "asks for", append(slices.Clone(r.agents), r.agents[0], r.agents[0], "", "nobody", strings.Repeat("x", 65))...),
		Scope:    draw(r, "scope", "", "", "", "deploy:staging", "deploy:production deploy:staging", "agents:write", "a  b"),
		Audience: draw(r, "audience", "", "", "", service, issuer, "no-uri"),
	}
	if rapid.IntRange(0, 2).Draw(r.T, "a usual run") == 0 {
		provider, audience = "github", issuer
		claims = map[string]any{"repository": r.repository, "repository_id": r.id, "repository_owner_id": "65", "ref": "refs/heads/main"}
		raw, payload = r.mint(provider, audience, claims)
		req = exchange.Request{Token: raw, AgentID: r.agents[0]}
	}
	ask := agentidp.ExplainRequest{Token: raw, AgentID: req.AgentID, Scope: req.Scope, Audience: req.Audience}
	told, wrong := r.explain(r.T, ask)
	ask.Token, ask.Claims = "", payload
	ofClaims, wrongClaims := r.explain(r.T, ask)

	if told != nil && slices.Contains([]string{agentidp.ReasonTokenExpired, agentidp.ReasonTokenNotYetValid}, told.Reason) {
		got, _ := r.exchanged(r.T, req)
		r.seen[got.Reason]++
		if got.Code != agentidp.CodeInvalidToken || got.Reason != told.Reason || !strings.Contains(told.Hint, got.Message) {
			r.Errorf("told of %q, %q, and got %+v", told.Reason, told.Hint, got)
		}
		told.Reason, ofClaims.Reason = "", ""
		req.Token, payload = r.mint(provider, audience, claims) // what is told beside is of a fresh one
	}
	got, err := r.exchanged(r.T, req)
	if wrong != nil { // of the request's own form
		if e := agentidp.AsError(wrong); e.Code != got.Code || e.Message != got.Message || err == nil {
			r.Errorf("told %v, and got %v", wrong, err)
		}
		return
	}
	r.seen[cmp.Or(got.Reason, got.Code, "granted")]++
	r.same("by its token", told, got)
	if got.Reason == agentidp.ReasonClaimInvalid {
		if wrongClaims == nil && ofClaims.Reason != got.Reason {
			r.Errorf("the claims %s are taken", payload)
		}
		return
	}
	r.same("by its claims", ofClaims, got)
	if again, err := r.explain(r.T, agentidp.ExplainRequest{Token: req.Token, AgentID: req.AgentID, Scope: req.Scope, Audience: req.Audience}); got.Allowed && (err != nil || !again.Allowed) {
		r.Errorf("after it was exchanged: %+v, %v", again, err)
	}
}

func (r *run) same(how string, told, got *agentidp.Explanation) {
	r.Helper()
	if told == nil {
		r.Fatalf("%s: nothing is told, and the exchange says %+v", how, got)
	}
	mine, theirs := *told, *got
	mine.Hint = ""
	if got.Code == agentidp.CodeInvalidToken { // no policy was looked at, and these are told all the same
		mine.PolicyID, mine.Checks, mine.Nearest, mine.Shadow = "", nil, nil, nil
		theirs.PolicyID, theirs.Checks, theirs.Nearest, theirs.Shadow = "", nil, nil, nil
	}
	if diff := gocmp.Diff(theirs, mine, cmpopts.EquateEmpty()); diff != "" {
		r.Errorf("%s (-exchange +explain):\n%s", how, diff)
	}
}

func merged(all ...map[string]any) map[string]any {
	out := map[string]any{}
	for _, m := range all {
		maps.Copy(out, m)
	}
	return out
}
