package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/sentryagent/agentidp"
)

const mediaForm = "application/x-www-form-urlencoded"

// clientCredentials are requests of an agent with a secret, which are all the same.
func clientCredentials(by *agentidp.CreatedCredential, count int) *requests {
	body := []byte("grant_type=" + agentidp.GrantClientCredentials)
	return &requests{path: "/oauth2/token", media: mediaForm, by: by, bodies: slices.Repeat([][]byte{body}, count)}
}

// maxTokens bounds how many different tokens are asked about, which is as many as some
// services see in a while.
const maxTokens = 1000

// introspections ask about tokens that were issued for that, each in its turn; by whom
// may be nil: whoever holds the token asks about it.
func introspections(ctx context.Context, server *child, by *agentidp.CreatedCredential, count, tokens int) (*requests, error) {
	bodies, err := askedOf(ctx, server, min(count, tokens)+1)
	if err != nil {
		return nil, err
	}
	send := &requests{path: "/oauth2/introspect", media: mediaForm, by: by, bodies: bodies[:1]}
	if err := asActive(ctx, server, send); err != nil {
		return nil, err
	}
	bodies = bodies[1:]
	for i := 0; len(bodies) < count; i++ {
		bodies = append(bodies, bodies[i])
	}
	send.bodies = bodies
	return send, nil
}

// askedOf are introspections of so many tokens, each of another.
func askedOf(ctx context.Context, server *child, count int) ([][]byte, error) {
	hc := &http.Client{Timeout: 30 * time.Second}
	defer hc.CloseIdleConnections()
	bodies := make([][]byte, count)
	errs := make([]error, 16)
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			for n := w; n < count && errs[w] == nil; n += len(errs) {
				token, err := granted(ctx, hc, server)
				bodies[n], errs[w] = asked(token), err
			}
		})
	}
	wg.Wait()
	return bodies, errors.Join(errs...)
}

// granted returns an access token of the server's client.
func granted(ctx context.Context, hc *http.Client, server *child) (string, error) {
	get := clientCredentials(&server.ready.Credential, 1)
	answer, err := post(ctx, hc, server.ready.URL+get.path, get, 0)
	if err != nil {
		return "", err
	}
	var got agentidp.TokenResponse
	err = json.Unmarshal(answer, &got)
	return got.AccessToken, err
}

// asked is the body of an introspection.
func asked(token string) []byte { return []byte("token=" + url.QueryEscape(token)) }

// asActive holds an introspection's answer against what is meant to be measured: that a
// token is not active would be cheaper to say.
func asActive(ctx context.Context, server *child, send *requests) error {
	answer, err := post(ctx, http.DefaultClient, server.ready.URL+send.path, send, 0)
	if err != nil {
		return err
	}
	var got agentidp.Introspection
	if err := json.Unmarshal(answer, &got); err != nil {
		return fmt.Errorf("introspection: %w", err)
	}
	if !got.Active {
		return errors.New("introspection: the token is not active")
	}
	return nil
}
