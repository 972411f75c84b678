package verifytokens_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

// A key that was withdrawn verifies nothing once the time is over for which keys are kept,
// which is short here; what its successor signs is good.
func TestTheServicesForgetAWithdrawnKey(t *testing.T) {
	s := newServer(t, 0)
	for _, service := range services {
		t.Run(service.language, func(t *testing.T) {
			o := s.newTenant("acme-"+service.language, audience)
			url := service.start(t, pageIssuer, o.org.Issuer, service.kept, service.hardly)
			token := o.exchange("deploy:staging", audience)
			if status, _, _ := get(t, url, "Bearer "+token); status != http.StatusOK {
				t.Fatalf("before, the token is answered %d", status)
			}
			if _, err := s.app.RotateKeys(t.Context(), o.org.Slug, kidOf(t, token)); err != nil {
				t.Fatal(err)
			}
			for began := time.Now(); ; {
				status, challenge, _ := get(t, url, "Bearer "+token)
				if status == http.StatusUnauthorized && challenge == invalid {
					break
				}
				if time.Since(began) > time.Minute {
					t.Fatalf("a minute later, the token is answered %d", status)
				}
			}
			if status, _, _ := get(t, url, "Bearer "+o.exchange("deploy:staging", audience)); status != http.StatusOK {
				t.Errorf("a token by the next key is answered %d", status)
			}
		})
	}
}

// The page's curl is told at once what a service that asks nobody learns when the token
// expires.
func TestIntrospectionAsOnThePage(t *testing.T) {
	s := newServer(t, 0)
	o := s.newTenant("acme", audience)
	token := o.exchange("deploy:staging", audience)
	ask := func() *agentidp.Introspection {
		t.Helper()
		block := code(t, "sh", "/oauth2/introspect", pageIssuer, o.org.Issuer)
		out, err := run(t, t.TempDir(), []string{"TOKEN=" + token}, "sh", "-euc", block)
		var answer agentidp.Introspection
		if err == nil {
			err = json.Unmarshal([]byte(out), &answer)
		}
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return &answer
	}
	if answer := ask(); !answer.Active || answer.Audience != audience || answer.Scope != "deploy:staging" {
		t.Errorf("the answer is %+v", answer)
	}
	if _, err := s.admin(o.org).SuspendAgent(t.Context(), o.agent); err != nil {
		t.Fatal(err)
	}
	if answer := ask(); answer.Active {
		t.Errorf("of a suspended agent's token the answer is %+v", answer)
	}
}
