package credential

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

// FuzzAssertion reads any payload as that of a client's assertion whose signature is proven.
// One that is accepted says, as encoding/json reads it, that it is the client's own, for
// this issuer and no other, for the next minutes.
func FuzzAssertion(f *testing.F) {
	const client, issuer = "0193a5b0-0000-7000-8000-00000000000a", "https://idp.example"
	const good = `"iss":"` + client + `","sub":"` + client + `","aud":"` + issuer + `","exp":1795262460,"iat":1795262400,"jti":"j"`
	for _, payload := range []string{
		"{" + good + "}", "{" + good + `,"nbf":1795262400.5,"x":{"a":[]}}`,
		"{" + good + `,"aud":"https://other.example"}`,
		"{" + good + `,"Aud":"https://other.example"}`,
		"{" + good + `,"nbf":"soon"}`, "{" + good + "}{}",
		`{"iss":"x","sub":"` + client + `"}`,
		`{"iss":"` + client + `","sub":"` + client + `","aud":["` + issuer + `"],"exp":1795262460,"jti":"j"}`,
		`{"iss":"` + client + `","sub":"` + client + `","aud":"` + issuer + `/oauth2/token","exp":1e400}`,
		`{"sub":"x' OR 1=1--"}`, "null", "\xff",
	} {
		f.Add("client-authentication+jwt", payload)
		f.Add("", payload)
	}
	f.Add("at+jwt", "{"+good+"}")
	now := time.Unix(1795262400, 0)
	f.Fuzz(func(t *testing.T, typ, payload string) {
		header, err := json.Marshal(map[string]string{"alg": "ES256", "typ": typ})
		if err != nil {
			t.Fatal(err)
		}
		b64 := base64.RawURLEncoding.EncodeToString
		as, err := parseAssertion(b64(header) + "." + b64([]byte(payload)) + "." + b64([]byte("x")))
		if err != nil || as.check(issuer, client, now) != nil {
			return
		}
		var members map[string]any
		if err := json.Unmarshal([]byte(payload), &members); err != nil || !slices.Contains(assertionTypes, as.jws.Header.Typ) {
			t.Fatalf("accepted with typ %q: %v", as.jws.Header.Typ, err)
		}
		exp, ok := members["exp"].(float64)
		if id, _ := members["jti"].(string); members["iss"] != client || members["sub"] != client || members["aud"] != issuer || id == "" || !ok {
			t.Fatalf("accepted: %s", payload)
		}
		skew := agentidp.ClockSkew
		if ends := time.Unix(int64(exp), 0); !now.Before(ends.Add(skew)) || ends.After(now.Add(maxAssertionLife+skew)) {
			t.Fatalf("accepted until %s", ends)
		}
		for _, name := range []string{"nbf", "iat"} {
			if from, is := members[name].(float64); members[name] != nil && (!is || int64(from) > now.Add(skew).Unix()) {
				t.Fatalf("accepted with %s %v", name, members[name])
			}
		}
	})
}
