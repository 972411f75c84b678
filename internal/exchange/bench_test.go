package exchange

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/emulator"
	"github.com/sentryagent/agentidp/internal/keys"
	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/providers"
	"github.com/sentryagent/agentidp/internal/store"
	"github.com/sentryagent/agentidp/internal/token"
	"github.com/sentryagent/agentidp/internal/verify"
)

// BenchmarkPolicies measures what an exchange costs by the number of policies: those of
// its own repository, and all that its organization has. Each policy of the repository
// is for another agent, and a run asks for that of the last. "times" is the ratio to an
// organization of one policy in the same run, of what this process spends on the CPU: a
// commit waits for the disk, which is the same for all.
func BenchmarkPolicies(b *testing.B) {
	steps := []struct {
		name string
		of   func(h *hall, b *testing.B, own int) (once func())
	}{
		{"candidates are read", (*hall).read},
		{"remembered candidates are compared", (*hall).compare},
		{"a grant is decided", func(h *hall, b *testing.B, own int) func() { return h.decide(b, own, "main") }},
		{"a refusal is decided", func(h *hall, b *testing.B, own int) func() { return h.decide(b, own, "other") }},
		{"an exchange is granted", func(h *hall, b *testing.B, own int) func() { return h.exchange(b, own, "main") }},
		{"an exchange is refused", func(h *hall, b *testing.B, own int) func() { return h.exchange(b, own, "other") }},
	}
	for _, engine := range []struct {
		name string
		url  func(testing.TB) string
	}{
		{"SQLite", func(b testing.TB) string { return "sqlite:" + filepath.Join(b.TempDir(), "bench.db") }},
		{"PostgreSQL", pgtest.Start},
	} {
		b.Run(engine.name, func(b *testing.B) {
			small, large := newHall(b, engine.url(b), 1, 1), newHall(b, engine.url(b), 100_000, 1, 100, 1000, 5000)
			for _, step := range steps {
				b.Run(step.name, func(b *testing.B) {
					var least float64
					run := func(h *hall, own int) {
						b.Run(fmt.Sprintf("%d of %d policies", own, h.all), func(b *testing.B) {
							once := step.of(h, b, own)
							once() // what is remembered is
							b.ReportAllocs()
							before := processTime(b)
							for b.Loop() {
								once()
							}
							took := (processTime(b) - before) / float64(b.N)
							if h == small {
								least = took
							}
							b.ReportMetric(took, "cpu-µs/op")
							b.ReportMetric(took/least, "times")
						})
					}
					run(small, 1)
					for _, own := range large.sizes {
						run(large, own)
					}
				})
			}
		})
	}
}

// hall is an organization with many policies, and what an exchange needs.
type hall struct {
	*Exchanger
	ci    *emulator.Emulator
	org   *agentidp.Organization
	all   int   // policies of the organization
	sizes []int // policies of each repository of which it has more than one
}

const ciIssuer = "https://ci.example"

func newHall(b *testing.B, url string, all int, sizes ...int) *hall {
	b.Helper()
	ctx := b.Context()
	h := &hall{all: all, sizes: sizes, org: &agentidp.Organization{ID: "o", Slug: "default", Issuer: "https://idp.example", Status: agentidp.OrganizationActive, Revision: 1}}
	db, err := store.Open(ctx, url, store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(ctx); err != nil {
		b.Fatal(err)
	}
	master, err := keys.Unlock(ctx, db, keys.MasterKeySource{Value: base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))})
	if err != nil {
		b.Fatal(err)
	}
	if h.ci, err = emulator.New(emulator.Config{Issuer: ciIssuer, Run: emulator.Run{Repository: "acme/deploy"}}); err != nil {
		b.Fatal(err)
	}
	set := httptest.NewRecorder()
	h.ci.Handler().ServeHTTP(set, httptest.NewRequestWithContext(ctx, "GET", ciIssuer+"/.well-known/jwks", nil))
	kinds, err := providers.Kinds()
	if err != nil {
		b.Fatal(err)
	}
	provider := providers.GitHub(kinds["github"], ciIssuer)
	// One subject token serves a whole run: what single use costs does not depend on policies.
	provider.JWKSURI, provider.JWKS, provider.Replay = "", set.Body.Bytes(), agentidp.ReplayAllow
	ring := keys.NewRing(db, master, "ES256", time.Now)
	h.Exchanger = New(Config{
		DB: db, Verifier: verify.New(verify.Config{Kinds: kinds}), Tokens: token.New(db, ring, time.Now, 0),
		Organization: h.organization,
		Providers:    []*agentidp.Provider{provider}, TokenTTL: time.Minute, RefusalsPerMinute: 1 << 40, Agents: token.NewAgentLimit(0),
		Clock: time.Now, Logger: slog.New(slog.DiscardHandler),
	})
	h.fill(b)
	if strings.HasPrefix(url, "postgres") {
		analyze(b, url)
	}
	if _, err := ring.Signer(ctx, h.org); err != nil { // the first makes the key
		b.Fatal(err)
	}
	if h.org, err = h.organization(ctx, "default"); err != nil {
		b.Fatal(err)
	}
	return h
}

// analyze has PostgreSQL count what there is, as it does by itself a minute later. Until
// then it plans for the few rows that it knew of.
func analyze(b *testing.B, url string) {
	b.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		b.Fatal(err)
	}
	_, err = db.ExecContext(b.Context(), "ANALYZE")
	if err := errors.Join(err, db.Close()); err != nil {
		b.Fatal(err)
	}
}

func (h *hall) organization(ctx context.Context, slug string) (*agentidp.Organization, error) {
	org, err := h.DB.Organization(ctx, slug)
	if err == nil {
		org.Issuer = "https://idp.example"
	}
	return org, err
}

// fill creates the policies: as many as a size says on the repository of that name, and
// the others each on a repository of its own.
func (h *hall) fill(b *testing.B) {
	b.Helper()
	ctx := b.Context()
	err := h.DB.Write(ctx, func(tx *store.Tx) error {
		a := &agentidp.Agent{AgentID: agentOf(0), OrganizationID: h.org.ID, Status: agentidp.AgentActive, CreatedAt: time.Now(), UpdatedAt: time.Now(), Revision: 1}
		a.Name, a.Capabilities = "deployer@acme.example", []string{"deploy:staging"}
		return errors.Join(tx.CreateOrganization(ctx, h.org), tx.CreateAgent(ctx, a))
	})
	rest := h.all
	for _, own := range h.sizes {
		err, rest = errors.Join(err, h.create(ctx, own, func(i int) (string, string) { return repositoryOf(own), agentOf(own - 1 - i) })), rest-own
	}
	for ; rest > 0; rest -= 1000 {
		from := rest
		err = errors.Join(err, h.create(ctx, min(rest, 1000), func(i int) (string, string) { return fmt.Sprintf("acme/other-%d", from-i), agentOf(from) }))
	}
	if err != nil {
		b.Fatal(err)
	}
}

func (h *hall) create(ctx context.Context, n int, of func(i int) (repository, agentID string)) error {
	return h.DB.Write(ctx, func(tx *store.Tx) error {
		for i := range n {
			now := time.Now()
			p := &agentidp.TrustPolicy{ID: agentidp.NewID(now), OrganizationID: h.org.ID, CreatedAt: now, UpdatedAt: now, Revision: 1}
			p.Provider, p.Branch, p.Mode, p.Events = "github", "main", agentidp.ModeEnforce, []string{"push", "workflow_dispatch"}
			p.Audiences, p.Claims = []string{"https://deploy.example"}, agentidp.ClaimConditions{"runner_environment": {"github-hosted"}}
			p.Repository, p.AgentID = of(i)
			if err := tx.CreatePolicy(ctx, p, policy.Fingerprint(&p.TrustPolicySpec)); err != nil {
				return err
			}
		}
		return nil
	})
}

func repositoryOf(own int) string { return fmt.Sprintf("acme/of-%d", own) }
func agentOf(i int) string        { return fmt.Sprintf("00000000-0000-7000-8000-%012d", i) }

func (h *hall) read(b *testing.B, own int) func() {
	return func() {
		rows, err := h.DB.Candidates(b.Context(), h.org.ID, "github", repositoryOf(own), "74")
		if err != nil || len(rows) != own {
			b.Fatal(len(rows), err)
		}
	}
}

// compare is what a refusal does to see that what is remembered is as it is now.
func (h *hall) compare(b *testing.B, own int) func() {
	a := h.attempt(b, own, "main")
	return func() {
		if _, candidates, read, err := a.candidates(b.Context(), true); err != nil || !read || len(candidates) != own {
			b.Fatal(len(candidates), read, err)
		}
	}
}

func (h *hall) decide(b *testing.B, own int, branch string) func() {
	input, candidates, _, err := h.attempt(b, own, branch).candidates(b.Context(), false)
	if err != nil {
		b.Fatal(err)
	}
	return func() {
		if out := policy.Match(candidates, input); out.Granted != (branch == "main") {
			b.Fatal(out.Err)
		}
	}
}

func (h *hall) exchange(b *testing.B, own int, branch string) func() {
	req := h.request(b, own, branch)
	return func() {
		again := *req
		if _, err := h.Exchange(b.Context(), h.org, &again); (err == nil) != (branch == "main") {
			b.Fatal(err)
		}
	}
}

// request is that of a run of a branch of the repository with so many policies.
func (h *hall) request(b *testing.B, own int, branch string) *Request {
	b.Helper()
	run := emulator.Run{Repository: repositoryOf(own), Ref: "refs/heads/" + branch, Event: "push"}
	raw, err := h.ci.Mint(emulator.Options{Audience: h.org.Issuer, Run: &run})
	if err != nil {
		b.Fatal(err)
	}
	return &Request{Token: raw, AgentID: agentOf(0)}
}

// attempt is what Exchange makes of it, as far as the policies.
func (h *hall) attempt(b *testing.B, own int, branch string) *attempt {
	b.Helper()
	req := h.request(b, own, branch)
	unverified, err := verify.Peek(req.Token)
	if err != nil {
		b.Fatal(err)
	}
	a, err := h.prove(b.Context(), h.org, req, unverified, false)
	if err != nil {
		b.Fatal(err)
	}
	return a
}

// processTime is the CPU time of this process so far, in microseconds.
func processTime(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e3
}
