package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
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
func introspections(ctx context.Context, server *child, by *agentidp.CreatedCredential, count int) (*requests, error) {
	hc := &http.Client{Timeout: 30 * time.Second}
	defer hc.CloseIdleConnections()
	bodies := make([][]byte, min(count, maxTokens))
	for i := range bodies {
		token, err := granted(ctx, hc, server)
		if err != nil {
			return nil, err
		}
		bodies[i] = asked(token)
	}
	for len(bodies) < count {
		bodies = append(bodies, bodies[len(bodies)%maxTokens])
	}
	send := &requests{path: "/oauth2/introspect", media: mediaForm, by: by, bodies: bodies}
	return send, asActive(ctx, hc, server, send)
}

// granted returns an access token of the server's client.
func granted(ctx context.Context, hc *http.Client, server *child) (string, error) {
	get := clientCredentials(&server.ready.Credential, 1)
	answer, err := post(ctx, hc, server.ready.URL+get.path, get, get.bodies[0])
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
func asActive(ctx context.Context, hc *http.Client, server *child, send *requests) error {
	answer, err := post(ctx, hc, server.ready.URL+send.path, send, send.bodies[0])
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
