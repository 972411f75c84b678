package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/sentryagent/agentidp/internal/emulator"
)

// attack is something that is done to the server while others want to be served.
type attack struct {
	name string
	tls  bool // HTTP/2 needs it
	plan func(ctx context.Context, ci *issuer, server *child) (*plan, error)
}

// many is how many addresses an attacker has who has many: a connection that was told to
// wait comes again from another, so no limit on addresses stops him.
const many = 50_000

var attacks = []attack{
	{name: "forged-one", plan: posts(1, 64, "/api/v1/oidc/token", forgedTokens)},
	{name: "forged-many", plan: posts(many, 256, "/api/v1/oidc/token", forgedTokens)},
	{name: "forged-crowd", plan: posts(many, 2000, "/api/v1/oidc/token", forgedTokens)},
	{name: "unknown-kids", plan: posts(many, 256, "/api/v1/oidc/token", unknownKids)},
	{name: "garbage", plan: posts(many, 256, "/api/v1/oidc/token", garbage)},
	{name: "dots", plan: posts(many, 256, "/api/v1/oidc/token", dots)},
	{name: "refused", plan: posts(many, 64, "/api/v1/oidc/token", refusedTokens)},
	{name: "introspection", plan: posts(many, 256, "/oauth2/introspect", forgedIntrospections)},
	{name: "secrets", plan: posts(many, 256, "/oauth2/token", wrongSecrets)},
	{name: "bearers", plan: posts(many, 256, "/api/v1/agents", wrongBearers)},
	{name: "slow-headers", plan: behaves(dripHeaders, 5000)},
	{name: "slow-bodies", plan: behaves(dripBodies, 5000)},
	{name: "idle", plan: behaves(stayIdle, 5000)},
	{name: "slow-answers", plan: behaves(readNothing, 2000)},
	{name: "huge-bodies", plan: behaves(sendWithoutEnd, 64)},
	{name: "resets", tls: true, plan: behaves(resetStreams, 16)},
}

// posts plans the same requests again and again, over so many connections at once.
func posts(addresses uint32, connections int, path string, messagesOf func(context.Context, *issuer, *child) ([]message, error)) func(context.Context, *issuer, *child) (*plan, error) {
	return func(ctx context.Context, ci *issuer, server *child) (*plan, error) {
		messages, err := messagesOf(ctx, ci, server)
		if err != nil {
			return nil, err
		}
		p := &plan{Manner: sendRequests, Addresses: addresses, Connections: connections}
		for _, m := range messages {
			raw, err := m.encode(path)
			if err != nil {
				return nil, err
			}
			p.Requests = append(p.Requests, raw)
		}
		return p, nil
	}
}

// behaves plans what is no matter of what is sent but of how.
func behaves(manner string, connections int) func(context.Context, *issuer, *child) (*plan, error) {
	return func(context.Context, *issuer, *child) (*plan, error) {
		return &plan{Manner: manner, Addresses: many, Connections: connections}, nil
	}
}

// message is a request as it is sent.
type message struct {
	media, authorization string
	body                 []byte
}

func (m *message) encode(path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://agentidp.example"+path, bytes.NewReader(m.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", m.media)
	if m.authorization != "" {
		req.Header.Set("Authorization", m.authorization)
	}
	var raw bytes.Buffer
	err = req.Write(&raw)
	return raw.Bytes(), err
}

func exchange(token, agentID string) (message, error) {
	body, err := json.Marshal(map[string]string{"token": token, "agentId": agentID})
	return message{media: "application/json", body: body}, err
}

func noise(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}

// forgedTokens are authentic in all but the signature: each costs a verification.
func forgedTokens(_ context.Context, ci *issuer, server *child) ([]message, error) {
	token, err := ci.Mint(emulator.Options{Audience: server.ready.URL})
	if err != nil {
		return nil, err
	}
	m, err := exchange(forge(token, 256), server.ready.AgentID)
	return []message{m}, err
}

// unknownKids are as many tokens as keys that nobody has: each is a reason to ask the
// issuer.
func unknownKids(_ context.Context, ci *issuer, server *child) ([]message, error) {
	token, err := ci.Mint(emulator.Options{Audience: server.ready.URL})
	if err != nil {
		return nil, err
	}
	_, rest, _ := strings.Cut(token, ".")
	all := make([]message, 2000)
	for i := range all {
		head := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":"RS256","typ":"JWT","kid":"%s"}`, noise(16)))
		if all[i], err = exchange(head+"."+rest, server.ready.AgentID); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func garbage(context.Context, *issuer, *child) ([]message, error) {
	all := make([]message, 50)
	for i := range all {
		all[i] = message{media: "application/json", body: []byte(noise(750))}
	}
	return all, nil
}

// dots are a token of all the dots that fit into a body.
func dots(_ context.Context, _ *issuer, server *child) ([]message, error) {
	m, err := exchange(strings.Repeat(".", 65_000), server.ready.AgentID)
	return []message{m}, err
}

// refusedTokens are authentic, of another repository, and no policy allows them. They are
// not used up by that.
func refusedTokens(_ context.Context, ci *issuer, server *child) ([]message, error) {
	all := make([]message, 50)
	for i := range all {
		token, err := ci.Mint(emulator.Options{Audience: server.ready.URL, Run: &emulator.Run{Repository: "elsewhere/anything", Ref: "refs/heads/main"}})
		if err != nil {
			return nil, err
		}
		if all[i], err = exchange(token, server.ready.AgentID); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// forgedIntrospections ask about tokens of ours that are authentic in all but the
// signature.
func forgedIntrospections(ctx context.Context, _ *issuer, server *child) ([]message, error) {
	token, err := granted(ctx, http.DefaultClient, server)
	if err != nil {
		return nil, err
	}
	all := make([]message, 500)
	for i := range all {
		all[i] = message{media: mediaForm, body: asked(forge(token, 64))}
	}
	return all, nil
}

// forge puts noise in the place of a signature.
func forge(token string, size int) string {
	return token[:strings.LastIndexByte(token, '.')+1] + noise(size)
}

func wrongSecrets(_ context.Context, _ *issuer, server *child) ([]message, error) {
	all := make([]message, 50)
	for i := range all {
		c := server.ready.Credential
		wrong := c.ClientSecret[:len(c.ClientSecret)-8] + noise(6)
		all[i] = message{media: mediaForm, body: []byte("grant_type=client_credentials"),
			authorization: "Basic " + base64.StdEncoding.EncodeToString([]byte(c.ClientID+":"+wrong))}
	}
	return all, nil
}

func wrongBearers(ctx context.Context, ci *issuer, server *child) ([]message, error) {
	forged, err := forgedIntrospections(ctx, ci, server)
	all := make([]message, len(forged))
	for i, m := range forged {
		all[i] = message{media: "application/json", body: []byte("{}"), authorization: "Bearer " + strings.TrimPrefix(string(m.body), "token=")}
	}
	return all, err
}
