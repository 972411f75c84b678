package verifytokens_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/sentryagent/agentidp/internal/keys"
	"github.com/sentryagent/agentidp/internal/store"
)

// forger signs whatever it is asked to with a tenant's own key.
type forger struct {
	*tenant
	ring *keys.Ring
	good map[string]any // the claims of a good token
}

func newForger(o *tenant, good string) *forger {
	o.t.Helper()
	db, err := store.Open(o.t.Context(), o.cfg.DatabaseURL, store.Options{Clock: o.now})
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { db.Close() })
	master, err := keys.Unlock(o.t.Context(), db, keys.MasterKeySource{File: o.cfg.MasterKeyFile})
	if err != nil {
		o.t.Fatal(err)
	}
	f := &forger{tenant: o, ring: keys.NewRing(db, master, o.cfg.SigningAlg, o.now), good: map[string]any{}}
	if err := json.Unmarshal(segment(o.t, good, 1), &f.good); err != nil {
		o.t.Fatal(err)
	}
	return f
}

// sign returns the good token with another type and other claims; a nil claim is left
// out.
func (f *forger) sign(typ string, claims map[string]any) string {
	f.t.Helper()
	signer, err := f.ring.Signer(f.t.Context(), f.org)
	if err != nil {
		f.t.Fatal(err)
	}
	token, err := signer.Sign(typ, f.claims(claims))
	if err != nil {
		f.t.Fatal(err)
	}
	return token
}

func (f *forger) claims(changed map[string]any) []byte {
	f.t.Helper()
	all := maps.Clone(f.good)
	maps.Copy(all, changed)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	payload, err := json.Marshal(all)
	if err != nil {
		f.t.Fatal(err)
	}
	return payload
}

// stranger signs the claims of the good token with a key that is not the tenant's, under
// whatever name.
func (f *forger) stranger(key any, alg jose.SignatureAlgorithm, kid string) string {
	f.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, (&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		f.t.Fatal(err)
	}
	signed, err := signer.Sign(f.claims(nil))
	if err != nil {
		f.t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		f.t.Fatal(err)
	}
	return token
}

// unsigned is a token as good as another, of which its header says that it needs no
// signature.
func unsigned(good string) string {
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`))
	return header + "." + strings.Split(good, ".")[1] + "."
}

// segment decodes the header (0) or the claims (1) of a token.
func segment(t *testing.T, token string, i int) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[i])
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// kidOf returns the name of the key that signed a token.
func kidOf(t *testing.T, token string) string {
	t.Helper()
	var header struct{ Kid string }
	if err := json.Unmarshal(segment(t, token, 0), &header); err != nil {
		t.Fatal(err)
	}
	return header.Kid
}
