package verify_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
)

// All tokens of this file are correctly signed.

func TestAudience(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	w.provider.Audiences = []string{"https://old.example", ""}
	for _, tt := range []struct {
		name string
		aud  any
		ok   bool
		read string // what the error says that it read
	}{
		{"the issuer", "https://idp.example.com", true, ""},
		{"the issuer in an array", []any{"https://idp.example.com"}, true, ""},
		{"one that the provider lists", "https://old.example", true, ""},
		{"A-071 missing", absent, false, ""},
		{"A-071 null", nil, false, ""},
		{"A-071 empty", "", false, ""},
		{"A-071 an empty array", []any{}, false, ""},
		{"A-071 an array of an empty string", []any{""}, false, ""},
		{"A-072 GitHub's default", "https://github.com/acme", false, "https://github.com/acme"},
		{"A-073 another service's", "sts.amazonaws.com", false, "sts.amazonaws.com"},
		{"A-074 ours and another", []any{"https://idp.example.com", "https://other.example"}, false, "https://idp.example.com https://other.example"},
		{"A-074 ours twice", []any{"https://idp.example.com", "https://idp.example.com"}, false, "https://idp.example.com https://idp.example.com"},
		{"A-075 ours and a number", []any{"https://idp.example.com", 1}, false, ""},
		{"A-075 a nested array", []any{[]any{"https://idp.example.com"}}, false, ""},
		{"A-075 an object", map[string]any{"https://idp.example.com": 1}, false, ""},
		{"A-075 a number", 1, false, ""},
		{"A-076 in upper case", "HTTPS://IDP.example.com", false, "HTTPS://IDP.example.com"},
		{"A-076 with a trailing slash", "https://idp.example.com/", false, "https://idp.example.com/"},
		{"A-076 with a suffix", "https://idp.example.com.evil", false, "https://idp.example.com.evil"},
		{"A-076 a part of it", "idp.example.com", false, "idp.example.com"},
		{"A-076 with a space", " https://idp.example.com", false, " https://idp.example.com"},
		{"A-077 another organization's", "https://idp.example.com/o/acme", false, "https://idp.example.com/o/acme"},
		{"the management API's", "https://idp.example.com/api/v1", false, "https://idp.example.com/api/v1"},
		{"a control character", "https://idp.example.com\u001b", false, ""},
		{"2 KB", strings.Repeat("a", 2000), false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := w.verify(t, w.key.token(t, claims(t, map[string]any{"aud": tt.aud})))
			if tt.ok {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			e := wantReason(t, c, err, agentidp.ReasonAudienceMismatch)
			if e.Claims["aud"] != tt.read || !strings.Contains(e.Message, "audience=https://idp.example.com.") || c.Repository != "acme/deploy" {
				t.Errorf("got %q, claims %v, repository %q", e.Message, e.Claims, c.Repository)
			}
		})
	}
}

func TestClaimsThatAreMissingOrMalformed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	const notProper = "is not a string of at most 1024 bytes without control characters"
	for _, tt := range []struct {
		name, claim string
		value       any
		reason      string // empty: accepted
	}{
		{"repository missing", "repository", absent, "is missing or empty"},
		{"repository_id missing", "repository_id", absent, "is missing or empty"},
		{"repository_owner_id empty", "repository_owner_id", "", "is missing or empty"},
		{"repository_id a number", "repository_id", 74, notProper},
		{"repository null", "repository", nil, notProper},
		{"repository an array", "repository", []string{"acme/deploy"}, notProper},
		{"repository with a newline", "repository", "acme/deploy\n", notProper},
		{"repository with DEL", "repository", "acme/deploy\u007f", notProper},
		{"repository with a C1 control character", "repository", "acme/deploy\u0085", notProper},
		{"an optional claim a number", "ref", 1, notProper},
		{"an optional claim null", "environment", nil, notProper},
		{"an optional claim of 1025 bytes", "environment", strings.Repeat("e", 1025), notProper},
		{"an optional claim of 1024 bytes", "environment", strings.Repeat("e", 1024), ""},
		{"an optional claim missing", "environment", absent, ""},
		{"an optional claim beyond ASCII", "environment", "Größe 😀", ""},
		{"A-092 jti missing", "jti", absent, "is missing or empty"},
		{"A-093 jti of 10 KB", "jti", strings.Repeat("j", 10_000), notProper},
		{"A-093 jti of SQL: it is only stored", "jti", "x'; DROP TABLE used_tokens--", ""},
		{"A-081 exp missing", "exp", absent, "is missing"},
		{"iat missing", "iat", absent, "is missing"},
		{"A-082 exp a string", "exp", "4102444800", badDate},
		{"A-082 exp null", "exp", nil, badDate},
		{"A-082 exp true", "exp", true, badDate},
		{"A-082 exp an array", "exp", []int64{start.Unix() + 300}, badDate},
		{"A-084 exp 1e400", "exp", json.RawMessage("1e400"), badDate},
		{"A-084 exp 2^63", "exp", json.RawMessage("9223372036854775808"), badDate},
		{"A-084 exp 1e30", "exp", json.RawMessage("1e30"), badDate},
		{"A-084 exp after the year 9999", "exp", json.RawMessage("253402300800"), badDate},
		{"A-084 exp -1", "exp", -1, badDate},
		{"A-084 exp -0", "exp", json.RawMessage("-0"), badDate},
		{"A-084 exp 0", "exp", 0, "is not later than iat"},
		{"iat a string", "iat", "1795262400", badDate},
		{"iat negative", "iat", -1e12, badDate},
		{"exp equal to iat", "exp", start.Unix(), "is not later than iat"},
		{"exp before iat", "exp", start.Unix() - 10, "is not later than iat"},
		{"A-087 nbf a string", "nbf", "1", badDate},
		{"A-087 nbf null", "nbf", nil, badDate},
		{"A-087 nbf after exp", "nbf", start.Unix() + 301, "is not earlier than exp"},
		{"nbf 0", "nbf", 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := w.verify(t, w.key.token(t, claims(t, map[string]any{tt.claim: tt.value})))
			if tt.reason == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			e := wantReason(t, c, err, agentidp.ReasonClaimInvalid)
			if len(e.Details) != 1 || e.Details[0] != (agentidp.FieldError{Field: tt.claim, Reason: tt.reason}) {
				t.Errorf("details %v", e.Details)
			}
			if !strings.Contains(e.Message, "claim "+tt.claim+" "+tt.reason) {
				t.Errorf("message %q", e.Message)
			}
		})
	}
}

const badDate = "is not a number of seconds since 1970"

func TestClaimsAreReportedTogetherByTheProvidersNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	c, err := w.verify(t, w.key.token(t, claims(t, map[string]any{"event_name": 1, "repository_id": absent, "aud": "x", "exp": 1})))
	e := wantReason(t, c, err, agentidp.ReasonClaimInvalid)
	if len(e.Details) != 2 || e.Details[0].Field != "event_name" || e.Details[1].Field != "repository_id" {
		t.Errorf("details %v", e.Details)
	}
	if c.Event != "" || c.Repository != "acme/deploy" || c.Provider != "github" {
		t.Errorf("claims %+v", c)
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	type change = map[string]any
	at := func(d time.Duration) int64 { return start.Add(d).Unix() }
	for _, tt := range []struct {
		name   string
		clock  time.Duration // after iat
		change change
		want   string
	}{
		{"at once", 0, nil, ""},
		{"A-091 at exp: the skew is for the token", 300 * time.Second, nil, ""},
		{"A-086 59 s after exp", 359 * time.Second, nil, ""},
		{"A-086 59.999 s after exp", 359*time.Second + 999*time.Millisecond, nil, ""},
		{"A-086 60 s after exp", 360 * time.Second, nil, agentidp.ReasonTokenExpired},
		{"A-083 the fraction of exp is dropped", 360 * time.Second, change{"exp": json.RawMessage("1795262700.9")}, agentidp.ReasonTokenExpired},
		{"a year after exp", 365 * 24 * time.Hour, nil, agentidp.ReasonTokenExpired},
		{"A-090 our clock is 60 s behind", -60 * time.Second, nil, ""},
		{"A-090 our clock is 61 s behind", -61 * time.Second, nil, agentidp.ReasonTokenNotYetValid},
		{"A-090 our clock is 5 min behind", -5 * time.Minute, nil, agentidp.ReasonTokenNotYetValid},
		{"A-087 nbf in 60 s", 0, change{"nbf": at(60 * time.Second)}, ""},
		{"A-087 nbf in 61 s", 0, change{"nbf": at(61 * time.Second)}, agentidp.ReasonTokenNotYetValid},
		{"A-089 no nbf, iat in 61 s", -61 * time.Second, change{"nbf": absent}, agentidp.ReasonTokenNotYetValid},
		{"A-085 a life of 1 h", 0, change{"exp": at(time.Hour)}, ""},
		{"A-085 a life of 1 h and 1 s", 0, change{"exp": at(time.Hour + time.Second)}, agentidp.ReasonTokenTooOld},
		{"A-085 a life of ten years", 0, change{"exp": at(87600 * time.Hour)}, agentidp.ReasonTokenTooOld},
		{"A-085 a life of 8000 years", 0, change{"exp": int64(253402300799), "iat": 0}, agentidp.ReasonTokenTooOld},
		{"the audience before the times", 24 * time.Hour, change{"aud": "x"}, agentidp.ReasonAudienceMismatch},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, jose.ES256)
			w.Advance(tt.clock)
			c, err := w.verify(t, w.key.token(t, claims(t, tt.change)))
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantReason(t, c, err, tt.want)
		})
	}
}

func TestTimesAreReportedWithTheCallersOwnClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	w.Advance(time.Hour)
	c, err := w.verify(t, w.key.token(t, claims(t, nil)))
	e := wantReason(t, c, err, agentidp.ReasonTokenExpired)
	if want := map[string]string{"iat": "1795262400", "exp": "1795262700", "nbf": "1795261800"}; !maps.Equal(e.Claims, want) {
		t.Errorf("claims %v", e.Claims)
	}
	const want = "The subject token expired at 2026-11-21T12:05:00Z; this server's clock says 2026-11-21T13:00:00Z. Request a fresh ID token for each exchange."
	if e.Message != want {
		t.Errorf("message %q", e.Message)
	}
	if !c.ExpiresAt.Equal(start.Add(5*time.Minute)) || !c.IssuedAt.Equal(start) {
		t.Errorf("claims %+v", c)
	}
}

func TestTheLifeThatAProviderAdmits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	w.provider.MaxTokenAge = 299 * time.Second
	c, err := w.verify(t, w.good(t))
	e := wantReason(t, c, err, agentidp.ReasonTokenTooOld)
	if !strings.Contains(e.Message, "lives 300 seconds; provider github admits 299 at most") {
		t.Errorf("message %q", e.Message)
	}
	w.provider.MaxTokenAge = 0 // the kind's
	w.mustVerify(t, w.good(t))
}
