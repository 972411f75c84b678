package verifytokens_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/printed"
)

// An agent with a secret or a key of its own calls the page's server. It is no run of any
// repository.
func TestTheClientsWithACredentialOfThePage(t *testing.T) {
	f := newFront(t)
	s := newServer(t, 0)
	o := s.newTenant("acme", audience)
	startMCP(t, f, o.org.Issuer)
	made := strings.Fields(o.administer(code(t, "sh", "credential create", pageResource, f.URL) + `echo "$AGENT_ID $AGENT_SECRET"`))
	if len(made) != 2 {
		t.Fatal("the commands do not make an agent's id and a secret")
	}
	agent, secret := made[0], made[1]
	printed.Secret(t, secret)
	private, public := newKey(t)
	if _, err := s.admin(o.org).CreateCredential(t.Context(), agent, agentidp.CredentialSpec{Type: agentidp.CredentialPublicKey, JWKS: public}); err != nil {
		t.Fatal(err)
	}
	const bySecret, byKey = "clientSecret: process.env.AGENT_SECRET", "privateKey: process.env.AGENT_KEY, algorithm: 'ES256'"
	for _, c := range []struct {
		name, environment string
		changed           []string
	}{
		{"with a secret", "AGENT_SECRET=" + secret, nil},
		{"with a key", "AGENT_KEY=" + private, []string{"ClientCredentialsProvider", "PrivateKeyJwtProvider", bySecret, byKey}},
	} {
		t.Run(c.name, func(t *testing.T) {
			program := code(t, "js", bySecret, append(c.changed, pageIssuer, o.org.Issuer, pageResource, f.URL)...)
			out, err := run(t, folder(t, map[string]string{"agent.mjs": program}), []string{"AGENT_ID=" + agent, c.environment}, node(t), "agent.mjs")
			if want := agent + " from no repository\n"; err != nil || out != want {
				t.Errorf("the client ends with %v and says %q, want %q", err, out, want)
			}
		})
	}
}

// newKey returns a private key as a client has it, and the key set to register.
func newKey(t *testing.T) (private string, public json.RawMessage) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), public
}
