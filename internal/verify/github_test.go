package verify

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/providers"
)

// The key set as GitHub publishes it has members that we do not use (x5c, x5t).
// Nobody here can sign with its keys, so a token that names one proves that the
// cache has it by failing at the signature, and not for want of the key.
func TestTheKeyCacheTakesTheKeySetThatGitHubPublishes(t *testing.T) {
	t.Parallel()
	published, err := os.ReadFile("../jose/testdata/github-jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(published) }))
	defer issuer.Close()
	kinds, err := providers.Kinds()
	if err != nil {
		t.Fatal(err)
	}
	v := New(Config{Kinds: kinds, Clock: time.Now, AllowInsecureLoopback: true})
	defer v.Close()
	keys, err := jose.ParseJWKS(published, []string{"RS256"})
	if err != nil || len(keys) == 0 {
		t.Fatalf("%d keys: %v", len(keys), err)
	}
	mallory, err := jose.GenerateKey("RS256")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner("RS256", mallory)
	if err != nil {
		t.Fatal(err)
	}
	for _, kid := range []string{keys[0].ID, "no-such-key"} {
		forged, err := signer.Sign("JWT", []byte(`{"iss":"`+issuer.URL+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		u, err := Peek(rename(t, forged, kid))
		if err != nil {
			t.Fatal(err)
		}
		_, err = v.Verify(t.Context(), &agentidp.Organization{ID: "o", Issuer: "https://idp.example"}, providers.GitHub(kinds["github"], issuer.URL), u)
		want := reasonSignature
		if kid == "no-such-key" {
			want = reasonUnknownKey
		}
		if got := Reason(err); got != want {
			t.Errorf("a forged token with kid %s is refused for its %s, want %s", kid, got, want)
		}
	}
}

// rename gives a token another kid; its signature is wrong already.
func rename(t *testing.T, token, kid string) string {
	t.Helper()
	_, rest, _ := strings.Cut(token, ".")
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT","kid":"`+kid+`"}`)) + "." + rest
}
