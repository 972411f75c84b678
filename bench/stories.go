package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
)

// story is something that is asked of the server, again and again.
type story struct {
	name  string
	ask   func(ctx context.Context, ci *issuer, server *child, count int) (*requests, error)
	flood bool // it is measured again under a flood
	nodes bool // and on several nodes
}

const (
	exchanged     = "exchange of a CI token"
	clientGranted = "client_credentials with a secret"
	askedByHolder = "introspection by whoever has the token"
	askedByClient = "introspection by a client with a secret"
	askedFirst    = "introspection of a token for the first time"
)

// stories are all that is measured; mix says what share of its exchanges is refused.
func stories(m mix) []story {
	return []story{
		{name: exchanged, flood: true, nodes: true, ask: func(_ context.Context, ci *issuer, server *child, count int) (*requests, error) {
			return ci.exchanges(server.ready.URL, server.ready.AgentID, count)
		}},
		{name: m.String(), ask: m.ask},
		{name: clientGranted, ask: func(_ context.Context, _ *issuer, server *child, count int) (*requests, error) {
			return clientCredentials(&server.ready.Credential, count), nil
		}},
		{name: askedByHolder, ask: func(ctx context.Context, _ *issuer, server *child, count int) (*requests, error) {
			return introspections(ctx, server, nil, count, maxTokens)
		}},
		{name: askedByClient, ask: func(ctx context.Context, _ *issuer, server *child, count int) (*requests, error) {
			return introspections(ctx, server, &server.ready.Credential, count, maxTokens)
		}},
		{name: askedFirst, ask: func(ctx context.Context, _ *issuer, server *child, count int) (*requests, error) {
			return introspections(ctx, server, nil, count, count)
		}},
	}
}

// mix is how many of a hundred exchanges are of a token with noise for a signature, and
// how many of one that was exchanged before.
type mix struct{ invalid, replayed int }

func parseMix(text string) (m mix, err error) {
	if _, err := fmt.Sscanf(text, "%d,%d", &m.invalid, &m.replayed); err != nil || m.invalid < 0 || m.replayed < 0 || m.invalid+m.replayed > 100 {
		return m, fmt.Errorf("-mix: %q is not INVALID,REPLAYED, of a hundred", text)
	}
	return m, nil
}

func (m mix) String() string {
	return fmt.Sprintf("mix: of a hundred tokens %d are forged and %d were used before", m.invalid, m.replayed)
}

// ask makes exchanges of each kind, in random order, after it has used what is replayed.
func (m mix) ask(ctx context.Context, ci *issuer, server *child, count int) (*requests, error) {
	send, err := ci.exchanges(server.ready.URL, server.ready.AgentID, count)
	if err != nil {
		return nil, err
	}
	forged, used := count*m.invalid/100, count*m.replayed/100
	replays := *send
	replays.bodies = send.bodies[forged : forged+used]
	if _, err := sendAll(ctx, only(server), &replays, 16); err != nil {
		return nil, err
	}
	send.status = make([]int, count)
	for i := range send.bodies {
		switch {
		case i < forged:
			if send.bodies[i], err = ci.forged(server.ready.URL); err != nil {
				return nil, err
			}
			send.status[i] = http.StatusUnauthorized
		case i < forged+used:
			send.status[i] = http.StatusUnauthorized
		default:
			send.status[i] = http.StatusOK
		}
	}
	rand.Shuffle(count, func(i, j int) { //nolint:gosec // an order, and no secret
		send.bodies[i], send.bodies[j] = send.bodies[j], send.bodies[i]
		send.status[i], send.status[j] = send.status[j], send.status[i]
	})
	return send, nil
}
