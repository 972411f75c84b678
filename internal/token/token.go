// Package token mints access tokens (RFC 9068), authenticates those that come
// back to the management API, says what any of them is worth, and revokes them. It is
// the only place that turns a bearer token into a Principal.
//
// It does not own who may get a token (internal/exchange) nor which principal
// may do what (each operation of internal/api declares that).
package token

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/keys"
	"github.com/sentryagent/agentidp/internal/limit"
	"github.com/sentryagent/agentidp/internal/store"
)

// typ is the media type of an access token (RFC 9068 §2.1), exactly as we write
// it.
const typ = "at+jwt"

// Tokens mints, authenticates, introspects and revokes access tokens.
type Tokens struct {
	db    *store.DB
	ring  *keys.Ring
	clock func() time.Time
	uses  *limit.Buckets[string] // by id

	verified *limit.Cache[[sha256.Size]byte, verified] // by the hash of the token
}

// maxUses is how many tokens' uses are counted at once.
const maxUses = 10_000

// New returns Tokens over a database and its keys. usesPerMinute is how often one
// token may be used here in a minute; 0: there is no limit.
func New(db *store.DB, ring *keys.Ring, clock func() time.Time, usesPerMinute int) *Tokens {
	return &Tokens{
		db: db, ring: ring, clock: clock, uses: limit.New[string]("requests-with-token", usesPerMinute, maxUses),
		verified: limit.NewCache[[sha256.Size]byte, verified](maxVerified),
	}
}

// claims are the claims of an access token (RFC 9068 §2.2). Times are
// NumericDate in whole seconds.
type claims struct {
	Issuer    string             `json:"iss"`
	Subject   string             `json:"sub"`
	ClientID  string             `json:"client_id"`
	Audience  string             `json:"aud"`
	IssuedAt  int64              `json:"iat"`
	NotBefore int64              `json:"nbf"`
	ExpiresAt int64              `json:"exp"`
	ID        string             `json:"jti"`
	Scope     string             `json:"scope,omitempty"`
	AgentName string             `json:"agent_name,omitempty"`
	Workload  *agentidp.Workload `json:"workload,omitempty"`

	Confirmation *agentidp.Confirmation `json:"cnf,omitempty"`
	Actor        *agentidp.Actor        `json:"act,omitempty"`
}

// Mint signs the access token that a record describes. The token must not leave
// the server before the record is durable. agentName and workload may be empty.
func (t *Tokens) Mint(ctx context.Context, org *agentidp.Organization, rec *agentidp.AccessToken, agentName string, workload *agentidp.Workload) (string, error) {
	return t.MintFor(ctx, org, rec, agentName, workload, nil)
}

// MintFor is Mint for a token with which somebody acts for its subject (RFC 8693 §4.1);
// actor may be nil.
func (t *Tokens) MintFor(ctx context.Context, org *agentidp.Organization, rec *agentidp.AccessToken, agentName string, workload *agentidp.Workload, actor *agentidp.Actor) (string, error) {
	signer, err := t.ring.Signer(ctx, org)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims{
		Issuer: org.Issuer, Subject: rec.Subject, ClientID: rec.Subject, Audience: rec.Audience,
		IssuedAt: rec.IssuedAt.Unix(), NotBefore: rec.IssuedAt.Unix(), ExpiresAt: rec.ExpiresAt.Unix(),
		ID: rec.ID, Scope: rec.Scope, AgentName: agentName, Workload: workload,
		Confirmation: rec.Confirmation(), Actor: actor,
	})
	if err != nil {
		return "", fmt.Errorf("encode access token: %w", err)
	}
	signed, err := signer.Sign(typ, payload)
	if err != nil {
		return "", fmt.Errorf("sign access token: %w", err)
	}
	return signed, nil
}
