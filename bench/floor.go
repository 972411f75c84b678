package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/emulator"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/providers"
	"github.com/sentryagent/agentidp/internal/verify"
)

const (
	benchRepository = "acme/deploy"
	benchAudience   = "https://deploy.acme.example"
)

// issuer is the CI issuer of the run.
type issuer struct {
	*emulator.Emulator
	issuer string
}

func startIssuer(ctx context.Context) (*issuer, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	url := "http://" + listener.Addr().String()
	e, err := emulator.New(emulator.Config{Issuer: url, Run: emulator.Run{Repository: benchRepository, Ref: "refs/heads/main"}})
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: e.Handler(), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(listener) }() // ends with the process
	return &issuer{e, url}, nil
}

// exchanges mints tokens ahead of the load: an RS256 signature costs more than an
// exchange. They are of each repository in its turn; none: of the emulator's own.
func (i *issuer) exchanges(audience, agentID string, count int, repositories ...string) (*requests, error) {
	return i.minted(audience, count, func(n int) (repository, agent string) {
		if len(repositories) > 0 {
			repository = repositories[n%len(repositories)]
		}
		return repository, agentID
	})
}

// exchangesOf mints one for each policy.
func (i *issuer) exchangesOf(audience string, policies []agentidp.TrustPolicy) (*requests, error) {
	return i.minted(audience, len(policies), func(n int) (repository, agent string) {
		return policies[n].Repository, policies[n].AgentID
	})
}

func (i *issuer) minted(audience string, count int, of func(n int) (repository, agent string)) (*requests, error) {
	bodies := make([][]byte, count)
	errs := make([]error, runtime.NumCPU())
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			for n := w; n < count && errs[w] == nil; n += len(errs) {
				repository, agent := of(n)
				bodies[n], errs[w] = i.exchange(audience, repository, agent)
			}
		})
	}
	wg.Wait()
	return &requests{path: "/api/v1/oidc/token", media: "application/json", bodies: bodies}, errors.Join(errs...)
}

// exchange is the body of one; no repository: the emulator's own.
func (i *issuer) exchange(audience, repository, agent string) ([]byte, error) {
	of := emulator.Options{Audience: audience}
	if repository != "" {
		of.Run = &emulator.Run{Repository: repository, Ref: "refs/heads/main"}
	}
	token, err := i.Mint(of)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]string{"token": token, "agentId": agent})
}

// cryptoCost is what the two signatures of an exchange cost, in µs of one core.
type cryptoCost struct{ verify, sign float64 }

func measureCrypto(ci *issuer, audience string) (*cryptoCost, error) {
	const rounds = 3000
	kinds, err := providers.Kinds()
	if err != nil {
		return nil, err
	}
	token, err := ci.Mint(emulator.Options{Audience: audience})
	if err != nil {
		return nil, err
	}
	provider := providers.GitHub(kinds["github"], ci.issuer)
	org := &agentidp.Organization{ID: "bench", Issuer: audience}
	v := verify.New(verify.Config{Kinds: kinds, Clock: time.Now, AllowInsecureLoopback: true})
	defer v.Close()
	check := func() error {
		u, err := verify.Peek(token)
		if err != nil {
			return err
		}
		_, err = v.Verify(context.Background(), org, provider, u)
		return err
	}
	key, err := jose.GenerateKey("ES256")
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner("ES256", key)
	if err != nil {
		return nil, err
	}
	payload, err := json.Marshal(map[string]any{"iss": audience, "sub": "01890000-0000-7000-8000-000000000000", "aud": benchAudience, "iat": 1, "exp": 2, "jti": "01890000-0000-7000-8000-000000000000", "scope": "deploy:staging"})
	if err != nil {
		return nil, err
	}
	cost := &cryptoCost{}
	if cost.verify, err = timed(rounds, check); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	cost.sign, err = timed(rounds, func() error {
		_, err := signer.Sign("at+jwt", payload)
		return err
	})
	return cost, err
}

// timed returns the mean CPU time of a call in µs, after one to warm up. CPU time,
// because another program that takes the core must not make the floor higher.
func timed(rounds int, f func() error) (float64, error) {
	if err := f(); err != nil {
		return 0, err
	}
	before, err := cpuTime()
	if err != nil {
		return 0, err
	}
	for range rounds {
		if err := f(); err != nil {
			return 0, err
		}
	}
	after, err := cpuTime()
	return float64((after - before).Nanoseconds()) / 1000 / float64(rounds), err
}
