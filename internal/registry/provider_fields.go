package registry

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/verify"
)

// defaultKind is the kind of a provider that names none.
const defaultKind = "oidc"

// newProvider makes a provider of a spec that was checked, with the defaults of its
// kind. Its keys may still have to be located.
func (r *Registry) newProvider(spec agentidp.ProviderSpec) *agentidp.Provider {
	kind := r.Kinds[cmp.Or(spec.Kind, defaultKind)]
	p := &agentidp.Provider{
		Name: spec.Name, Kind: kind.Name, Issuer: spec.Issuer, Audiences: slices.Clone(spec.Audiences), Algorithms: slices.Clone(spec.Algorithms),
		JWKSURI: spec.JWKSURI, JWKS: compact(spec.JWKS), MaxTokenAge: time.Duration(spec.MaxTokenAgeSeconds) * time.Second,
		Replay: cmp.Or(spec.Replay, agentidp.ReplayReject),
	}
	if len(p.Algorithms) == 0 {
		p.Algorithms = slices.Clone(kind.Algorithms)
	}
	if p.MaxTokenAge == 0 {
		p.MaxTokenAge = kind.MaxTokenAge
	}
	if p.JWKS == nil && p.JWKSURI == "" && kind.JWKSPath != "" {
		p.JWKSURI = p.Issuer + kind.JWKSPath
	}
	return p
}

// locateKeys asks the issuer where its keys are, if nobody has said so.
func (r *Registry) locateKeys(ctx context.Context, p *agentidp.Provider) error {
	if p.JWKS != nil || p.JWKSURI != "" {
		return nil
	}
	d, err := r.Verifier.Discover(ctx, p.Issuer)
	if err != nil {
		return err
	}
	p.JWKSURI = d.JWKSURI
	return nil
}

// mayVouch checks that a caller may say of an issuer what it says of itself no more.
// Whoever is not admin takes an issuer as it is, and may be stricter: from is what is
// stored, or the defaults where nothing is.
func mayVouch(c *Caller, from, to *agentidp.Provider) error {
	if c.Has(agentidp.ScopeAdmin) {
		return nil
	}
	var fields []string
	for _, f := range []struct {
		name    string
		differs bool
	}{
		{"audiences", !slices.Equal(from.Audiences, to.Audiences)},
		{"algorithms", !slices.Equal(from.Algorithms, to.Algorithms)},
		{"jwksUri", to.JWKS == nil && from.JWKSURI != to.JWKSURI},
		{"jwks", to.JWKS != nil && !bytes.Equal(from.JWKS, to.JWKS)},
		{"maxTokenAgeSeconds", to.MaxTokenAge > from.MaxTokenAge},
		{"replay", to.Replay == agentidp.ReplayAllow && from.Replay != agentidp.ReplayAllow},
	} {
		if f.differs {
			fields = append(fields, f.name)
		}
	}
	if fields == nil {
		return nil
	}
	return insufficient(agentidp.ScopeAdmin, "Only admin may set "+strings.Join(fields, ", ")+" like this: whose tokens are accepted hangs on it. "+
		"Keys, algorithms and audiences that are neither the defaults nor as they were, a longer life of tokens, and more than one use of each are admin's to allow.")
}

// shown is a provider as the API shows it.
func shown(p *agentidp.Provider, builtIn bool) *agentidp.RegisteredProvider {
	return &agentidp.RegisteredProvider{
		ID: p.ID, BuiltIn: builtIn, CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt, Revision: p.Revision,
		ProviderSpec: agentidp.ProviderSpec{
			Name: p.Name, Kind: p.Kind, Issuer: p.Issuer, Audiences: p.Audiences, Algorithms: p.Algorithms, JWKSURI: p.JWKSURI, JWKS: p.JWKS,
			MaxTokenAgeSeconds: int(p.MaxTokenAge / time.Second), Replay: p.Replay,
		},
	}
}

// fieldNames are what a replacement can change.
var fieldNames = []string{"audiences", "algorithms", "jwksUri", "jwks", "maxTokenAgeSeconds", "replay"}

func fieldsOf(p *agentidp.Provider) map[string]string {
	return map[string]string{
		"audiences": strings.Join(p.Audiences, " "), "algorithms": strings.Join(p.Algorithms, " "), "jwksUri": p.JWKSURI, "jwks": keysInShort(p),
		"maxTokenAgeSeconds": strconv.Itoa(int(p.MaxTokenAge / time.Second)), "replay": string(p.Replay),
	}
}

// said is what the audit log keeps of a provider: its fields in short, without those
// that are empty.
func said(p *agentidp.Provider) map[string]string {
	fields := fieldsOf(p)
	for name, value := range fields {
		if fields[name] = bounded(value); value == "" {
			delete(fields, name)
		}
	}
	return fields
}

// changed is what the audit log keeps of a replacement: which fields, from what and to
// what. It is empty where nothing changed.
func changed(old, p *agentidp.Provider) map[string]string {
	before, after, changes := fieldsOf(old), fieldsOf(p), map[string]string{}
	var names []string
	for _, name := range fieldNames {
		if before[name] != after[name] {
			names = append(names, name)
			changes[name+".before"], changes[name+".after"] = bounded(before[name]), bounded(after[name])
		}
	}
	if names != nil {
		changes["changed"] = strings.Join(names, " ")
	}
	return changes
}

// keysInShort tells two static sets apart: by their digest, and for people by the ids.
func keysInShort(p *agentidp.Provider) string {
	if p.JWKS == nil {
		return ""
	}
	sum := sha256.Sum256(p.JWKS)
	s := "sha256:" + hex.EncodeToString(sum[:])
	keys, _ := verify.ReportKeys(p.JWKS, p.Algorithms) // it was read when it was saved
	for _, k := range keys {
		s += " " + k.KeyID
	}
	return s
}

// maxShort bounds a value in an event, in bytes. The values are ASCII.
const maxShort = 500

func bounded(s string) string {
	if len(s) > maxShort {
		return s[:maxShort] + "…"
	}
	return s
}

// compact returns JSON without the white space between its members, so that a set that
// was only formatted anew is the same; nil for null and for nothing.
func compact(raw json.RawMessage) []byte {
	var out bytes.Buffer
	if raw == nil || json.Compact(&out, raw) != nil || out.String() == "null" {
		return nil
	}
	return out.Bytes()
}
