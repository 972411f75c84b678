package verify

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/providers"
)

// FuzzClaims reads any payload as that of a token whose signature is proven. What is taken
// from it is what encoding/json finds under the exact name, and nothing else; an audience
// that is accepted is ours alone; dates that are accepted are in order and now. What is
// refused is told in one sentence until the signature is proven, and then without anything
// that could not be read.
func FuzzClaims(f *testing.F) {
	const good = `"iss":"https://ci.example","aud":"https://idp.example.com","iat":1795262400,"exp":1795262700,"jti":"j","repository":"acme/deploy","repository_id":"74","repository_owner_id":"65","ref":"refs/heads/main"`
	for _, payload := range []string{
		"{" + good + "}", `{"iss":"https://ci.example","sub":"system:serviceaccount:a:b","kubernetes.io":{"namespace":"a"}}`,
		"{" + good + `,"x":"` + "\xff" + `"}`, "\ufeff{" + good + "}",
		"null", "[]", `"x"`, "1",
		"{" + good + "}{}", "{" + good + "} // x", "{" + good + `,"x":NaN}`,
		"{" + good + `,"repository":"evil/repo"}`,
		"{" + good + `,"Repository":"evil/repo","repo\u017fitory":"x"}`,
		`{"Iss":"https://evil.example","aud":"https://idp.example.com","i\u017fs":"x","iss":"https://ci.example"}`,
		"{" + good + `,"x":{"a":1,"a":2}}`,
		"{" + good + `,"environment":"\ud800"}`, "{" + good + `,"environment":"a\u0000"}`,
		`{"iss":["https://ci.example"]}`, `{"iss":""}`,
		`{"iss":"https://ci.example","aud":["https://idp.example.com","https://other.example"]}`,
		`{"iss":"https://ci.example","aud":["https://idp.example.com",1]}`,
		`{"iss":"https://ci.example","aud":"https://idp.example.com.evil","exp":1795262700.5}`,
		`{"iss":"https://ci.example","exp":"4102444800","iat":-1}`,
		`{"iss":"https://ci.example","exp":1e400,"iat":9223372036854775808}`,
		`{"iss":"https://ci.example","exp":1795262700,"iat":1795262400,"nbf":1e3}`, `{"iss":"https://ci.example","exp":1795262400,"iat":1795262400}`,
	} {
		f.Add(payload)
	}
	kinds, err := providers.Kinds()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		b64 := base64.RawURLEncoding.EncodeToString
		u, err := Peek(b64([]byte(`{"alg":"RS256","kid":"k"}`)) + "." + b64([]byte(payload)) + "." + b64([]byte("x")))
		if err != nil {
			if e := agentidp.AsError(err); len(payload) < maxToken/2 && e.Message != refuse(reasonFormat, nil).Message {
				t.Fatalf("refused in words of its own: %v", err)
			}
			return
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal([]byte(payload), &members); err != nil {
			t.Fatalf("encoding/json refuses what Peek accepts: %v", err)
		}
		if u.Issuer == "" || u.Issuer != asText(members["iss"]) {
			t.Fatalf("the issuer is %q", u.Issuer)
		}
		for _, name := range []string{"github", "oidc"} {
			readAs(t, compileKind(kinds[name]), u, members)
		}
	})
}

func readAs(t *testing.T, k *kind, u *Unverified, members map[string]json.RawMessage) {
	t.Helper()
	org, p := &agentidp.Organization{Issuer: "https://idp.example.com"}, &agentidp.Provider{Name: "p", Kind: k.Name, Issuer: u.Issuer}
	c, bad := k.fields(p, u)
	for claim, theirs := range k.ClaimNames {
		got := *c.Field(claim)
		if got != "" && got != asText(members[theirs]) || strings.ContainsFunc(got, unicode.IsControl) {
			t.Fatalf("%s is %q", theirs, got)
		}
		refused := slices.ContainsFunc(bad, func(e agentidp.FieldError) bool { return e.Field == theirs })
		if slices.Contains(k.Required, claim) && (got == "") != refused {
			t.Fatalf("%s is %q, and refused: %t", theirs, got, refused)
		}
	}
	if checkAudience(org, p, u, c) == nil {
		if one, list := asText(members["aud"]), []string(nil); one != org.Issuer && (json.Unmarshal(members["aud"], &list) != nil || len(list) != 1 || list[0] != org.Issuer) {
			t.Fatalf("the audience %s is accepted", members["aud"])
		}
	}
	now := time.Unix(1795262400, 0)
	if checkTimes(now, p, k, u, c) != nil {
		return
	}
	exp, iat := seconds(t, members["exp"]), seconds(t, members["iat"])
	if skew := int64(Skew / time.Second); exp <= iat || exp-iat > int64(k.MaxTokenAge/time.Second) || exp+skew <= now.Unix() || iat > now.Unix()+skew || c.ExpiresAt.Unix() != exp {
		t.Fatalf("iat %d and exp %d are accepted, as %s", iat, exp, c.ExpiresAt)
	}
}

// asText returns what encoding/json reads as a string, else "".
func asText(value json.RawMessage) string {
	var s string
	if len(value) == 0 || json.Unmarshal(value, &s) != nil {
		return ""
	}
	return s
}

// seconds returns a date that was accepted, without its fraction.
func seconds(t *testing.T, value json.RawMessage) int64 {
	t.Helper()
	var n float64
	if err := json.Unmarshal(value, &n); err != nil || n < 0 {
		t.Fatalf("the date %s is accepted", value)
	}
	return int64(n)
}
