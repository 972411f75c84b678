package app

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

// a key's id is the RFC 7638 thumbprint of what is published of it, so that no two
// keys share one: not after rotations, nor after keys that got out, nor in another
// organization.
func TestA233NoKeyHasAnothersID(t *testing.T) {
	t.Parallel()
	root := newWorld(t)
	root.clock.freeze()
	published := map[string]string{} // what the key is, by its id
	look := func(w *world) {
		t.Helper()
		var set struct {
			Keys []struct{ Kid, Crv, Kty, X, Y string }
		}
		if err := json.Unmarshal(w.want(w.do("GET", "/.well-known/jwks.json", "", nil), 200).Raw, &set); err != nil {
			t.Fatal(err)
		}
		for _, k := range set.Keys {
			is := fmt.Sprintf(`{"crv":%q,"kty":%q,"x":%q,"y":%q}`, k.Crv, k.Kty, k.X, k.Y)
			if was, seen := published[k.Kid]; seen && was != is {
				t.Errorf("the id %s is that of %s and of %s", k.Kid, was, is)
			}
			if sum := sha256.Sum256([]byte(is)); k.Kid != b64(sum[:]) {
				t.Errorf("the id %s is not the thumbprint of %s", k.Kid, is)
			}
			published[k.Kid] = is
		}
	}
	for _, w := range []*world{root, root.tenant("acme")} {
		for range 3 {
			for _, compromised := range []bool{false, true} {
				look(w)
				bad := ""
				if compromised {
					bad = w.keyIDs()[0]
				}
				if _, err := w.app.RotateKeys(t.Context(), w.slug, bad); err != nil {
					t.Fatal(err)
				}
				look(w)
				w.clock.advance(time.Hour) // the successor signs by then
			}
		}
	}
	if len(published) < 2*5 {
		t.Errorf("only %d keys were seen", len(published))
	}
}

// what our own keys have signed and is no access token opens nothing: an
// introspection answer (RFC 9701) or a logout token has another type, and its claims may
// be word for word those of a good token.
func TestA239OtherJWTsOfOurOwnKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	signer, err := w.app.ring.Signer(t.Context(), w.org())
	if err != nil {
		t.Fatal(err)
	}
	claims, err := json.Marshal(jwtClaims(t, admin))
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []string{"token-introspection+jwt", "logout+jwt", "secevent+jwt", "dpop+jwt", "oauth-id-jag+jwt", "JWT", "AT+JWT", "at+jwt"} {
		t.Run("A-239 "+typ, func(t *testing.T) {
			w := w.in(t)
			token, err := signer.Sign(typ, claims)
			if err != nil {
				t.Fatal(err)
			}
			if typ == "at+jwt" { // only that one is the token it says it is
				w.want(w.do("GET", agentsPath, token, nil), 200)
				return
			}
			w.isProblem(w.want(w.do("GET", agentsPath, token, nil), 401, agentidp.CodeInvalidToken))
			w.inactive(typ, w.introspect(admin, token))
			for _, d := range allDoors {
				w.through(d).refused(exchangeBody(token, ""), 401, agentidp.CodeInvalidToken)
			}
		})
	}
}
