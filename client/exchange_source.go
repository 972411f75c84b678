package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// ExchangeSource is a TokenSource for a CI job or another workload that has an ID token:
// it exchanges one for an access token and keeps that in memory.
//
// From 80 % of a token's life it gets the next one, in the background, while the old one
// is given out to its last seconds. If that fails it is tried again every ten seconds,
// and the error is told only when the old token is of no use any more. Callers who need
// a token at the same time share one exchange. Every attempt at an exchange takes a
// fresh ID token, so it may be repeated whatever became of the one before.
//
// Its methods may be called concurrently as long as its fields stay as they are. It must
// not be copied after its first use.
type ExchangeSource struct {
	// Client is the organization; its Token and Tokens are not used, so the source may be
	// that Client's own Tokens.
	Client *Client
	// AgentID, Scope and Audience are as in ExchangeRequest. Without AgentID the token is
	// a bootstrap token, good only to register agents.
	AgentID, Scope, Audience string
	// IDToken gets a fresh ID token for an audience, which is Client.BaseURL without a
	// trailing slash; nil is Client.GitHubIDToken.
	IDToken func(ctx context.Context, audience string) (string, error)

	mu     sync.Mutex
	held   heldToken
	flight *flight // nil: no exchange is under way
}

const (
	refreshPause   = 10 * time.Second // after a failed refresh
	lastMoments    = 10 * time.Second // of a token's life, in which it is not given out any more
	refreshTimeout = 2 * time.Minute  // for an exchange with all its repetitions
	maxLife        = 24 * 3600        // in seconds; no exchanged token lives as long, and this cannot overflow
)

type heldToken struct {
	token                string
	refreshAt, goodUntil time.Time
}

// flight is an exchange under way; token and err are there when done is closed.
type flight struct {
	done  chan struct{}
	token string
	err   error
}

// Token returns an access token that is good for a while.
func (s *ExchangeSource) Token(ctx context.Context) (string, error) {
	held, f := s.look(ctx)
	if f == nil {
		return held, nil
	}
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		return "", fmt.Errorf("wait for an access token: %w", ctx.Err())
	}
}

// look returns the token held, or else the exchange to wait for. It begins the exchange
// where it is time for it.
func (s *ExchangeSource) look(ctx context.Context) (string, *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	usable := now.Before(s.held.goodUntil)
	if usable && now.Before(s.held.refreshAt) {
		return s.held.token, nil
	}
	if s.flight == nil {
		s.flight = &flight{done: make(chan struct{})}
		// Not the context of one caller: others may come to wait for the same token.
		go s.refresh(context.WithoutCancel(ctx), s.flight)
	}
	if usable {
		return s.held.token, nil
	}
	return "", s.flight
}

func (s *ExchangeSource) refresh(ctx context.Context, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	held, err := s.exchange(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.held = held
	} else {
		s.held.refreshAt = time.Now().Add(refreshPause)
	}
	s.flight, f.token, f.err = nil, held.token, err
	close(f.done)
}

// exchange makes attempts, each with an ID token of its own.
func (s *ExchangeSource) exchange(ctx context.Context) (heldToken, error) {
	if s.Client == nil {
		return heldToken{}, errors.New("ExchangeSource.Client: it is nil")
	}
	idToken := s.IDToken
	if idToken == nil {
		idToken = s.Client.GitHubIDToken
	}
	var held heldToken
	err := s.Client.persist(ctx, passing, func() error {
		subject, err := idToken(ctx, strings.TrimSuffix(s.Client.BaseURL, "/"))
		if err != nil {
			return &notTried{err}
		}
		asked := time.Now() // the life counts from here: whatever the clocks say, it began no earlier
		answer, err := s.Client.exchangeOnce(ctx, ExchangeRequest{Token: subject, AgentID: s.AgentID, Scope: s.Scope, Audience: s.Audience})
		if err != nil {
			return fmt.Errorf("%s: %w", exchangeVerb, err)
		}
		life := time.Duration(min(answer.ExpiresIn, maxLife)) * time.Second
		held = heldToken{token: answer.AccessToken, refreshAt: asked.Add(life * 4 / 5)}
		held.goodUntil = asked.Add(max(life*4/5, life-lastMoments))
		return nil
	})
	return held, err
}
