package verify_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/verify"
)

// Claims that are pasted are held as a token's are, as far as they are there; where exp
// or iat is not, no value of it is supposed that would refuse them.
func TestClaimsThatArePasted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	w.oidc() // of whose kind a token lives an hour at most
	now := w.Now()
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	for _, tt := range []struct {
		name   string
		claims map[string]any
		unseen []string
		reason string
		issued bool // it is known when
	}{
		{"none", nil, []string{"aud", "exp", "iat"}, "", false},
		{"for this server", map[string]any{"aud": w.org.Issuer}, []string{"exp", "iat"}, "", false},
		{"for another", map[string]any{"aud": "https://other.example"}, []string{"exp", "iat"}, agentidp.ReasonAudienceMismatch, false},
		{"for this server and another", map[string]any{"aud": []string{w.org.Issuer, "https://other.example"}}, []string{"exp", "iat"}, agentidp.ReasonAudienceMismatch, false},
		{"by another", map[string]any{"iss": "https://other.example"}, []string{"aud", "exp", "iat"}, verify.ReasonIssuer, false},
		{"times that are good", map[string]any{"iat": at(0), "exp": at(5 * time.Minute)}, []string{"aud"}, "", true},
		{"an hour ago", map[string]any{"iat": at(-time.Hour), "exp": at(-50 * time.Minute)}, []string{"aud"}, agentidp.ReasonTokenExpired, true},
		{"a life of two hours", map[string]any{"iat": at(0), "exp": at(2 * time.Hour)}, []string{"aud"}, agentidp.ReasonTokenTooOld, true},
		{"nbf in an hour", map[string]any{"iat": at(0), "nbf": at(50 * time.Minute), "exp": at(time.Hour)}, []string{"aud"}, agentidp.ReasonTokenNotYetValid, true},
		{"exp before iat", map[string]any{"iat": at(0), "exp": at(-time.Second)}, []string{"aud"}, agentidp.ReasonClaimInvalid, true},
		{"exp alone", map[string]any{"exp": at(time.Minute)}, []string{"aud", "iat"}, "", false},
		{"exp alone, a life away", map[string]any{"exp": at(time.Hour)}, []string{"aud", "iat"}, "", false},
		{"exp alone, within the skew", map[string]any{"exp": at(-59 * time.Second)}, []string{"aud", "iat"}, "", false},
		{"exp alone, past", map[string]any{"exp": at(-time.Minute)}, []string{"aud", "iat"}, agentidp.ReasonTokenExpired, false},
		{"exp alone, two lives away", map[string]any{"exp": at(2 * time.Hour)}, []string{"aud", "iat"}, agentidp.ReasonTokenNotYetValid, false},
		{"exp alone, no date", map[string]any{"exp": "soon"}, []string{"aud", "iat"}, agentidp.ReasonClaimInvalid, false},
		{"iat alone", map[string]any{"iat": at(-time.Hour)}, []string{"aud", "exp"}, "", true},
		{"iat alone, past all that could live", map[string]any{"iat": at(-2 * time.Hour)}, []string{"aud", "exp"}, agentidp.ReasonTokenExpired, true},
		{"iat alone, in the future", map[string]any{"iat": at(time.Hour)}, []string{"aud", "exp"}, agentidp.ReasonTokenNotYetValid, true},
		{"iat alone, no date", map[string]any{"iat": "now"}, []string{"aud", "exp"}, agentidp.ReasonClaimInvalid, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			all := map[string]any{"sub": "build"}
			for name, value := range tt.claims {
				all[name] = value
			}
			payload, err := json.Marshal(all)
			if err != nil {
				t.Fatal(err)
			}
			pasted, err := verify.Paste(payload)
			if err != nil {
				t.Fatal(err)
			}
			c, unseen, err := w.verifier.Suppose(w.org, w.provider, pasted)
			reason := ""
			if err != nil {
				reason = verify.Reason(err)
			}
			if c == nil || c.Subject != "build" || !slices.Equal(unseen, tt.unseen) || reason != tt.reason || c.IssuedAt.IsZero() == tt.issued {
				t.Errorf("%+v, unseen %v, %v", c, unseen, err)
			}
		})
	}
}
