package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/sentryagent/agentidp"
)

// Introspect asks what an access token is worth now (RFC 7662). Where Client.Token or
// Tokens is set, that token is sent too and its authority counts: a token of another
// client is active only to tokens:read. Where neither is, having the token is all the
// proof that it takes. An error means neither yes nor no.
func (c *Client) Introspect(ctx context.Context, token string) (*agentidp.Introspection, error) {
	const verb = "introspect the access token"
	if token == "" {
		return nil, errors.New(verb + ": it is empty")
	}
	var out agentidp.Introspection
	err := c.do(ctx, &call{verb: verb, method: http.MethodPost, path: "/oauth2/introspect", form: url.Values{"token": {token}}, subject: token, beside: true, readOnly: true, out: &out})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// RevokeToken ends an access token (RFC 7009). token is the token itself, which is
// all the proof that it takes: Client.Token is not sent; or the id (jti) of a token,
// for which Client.Token must hold tokens:revoke. A token that has ended, or that
// the server does not know, is no error.
func (c *Client) RevokeToken(ctx context.Context, token string) error {
	const verb = "revoke the access token"
	if token == "" {
		return errors.New(verb + ": it is empty")
	}
	k := call{verb: verb, method: http.MethodPost, path: "/oauth2/revoke", form: url.Values{"token": {token}}, idempotent: true}
	if !agentidp.IsID(token) {
		k.subject = token
	}
	return c.do(ctx, &k)
}

// RevokeTokens ends all access tokens that a selection chooses, as far as they were
// issued before the call, and returns how many that were. An empty selection is
// agentidp.CodeInvalidRequest. Of a call that was repeated, the number is that of the
// last attempt: what one before it ended is not counted.
func (c *Client) RevokeTokens(ctx context.Context, chosen agentidp.TokenSelection) (int64, error) {
	var out struct {
		Revoked int64 `json:"revoked"`
	}
	err := c.do(ctx, &call{verb: "revoke access tokens", method: http.MethodPost, path: "/tokens/revoke", body: chosen, out: &out, idempotent: true})
	return out.Revoked, err
}
