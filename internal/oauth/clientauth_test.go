package oauth

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"testing"

	"github.com/sentryagent/agentidp/internal/credential"
)

// S-023, S-024: how clients say who they are; internal/app tells how they do not.
func TestHowAClientSaysWhoItIs(t *testing.T) {
	t.Parallel()
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	const assertion = "&client_assertion=a.b.c&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	for _, tt := range []struct {
		name, authorization, form string
		want                      credential.Presented
	}{
		{"nothing", "", "", credential.Presented{Method: "none"}},
		{"its id alone", "", "client_id=id", credential.Presented{ClientID: "id", Method: "none"}},
		{"Basic", basic("id:secret"), "", credential.Presented{ClientID: "id", Secret: "secret", Method: "client_secret_basic"}},
		{"Basic, in another case", "bASIC" + basic("id:secret")[5:], "", credential.Presented{ClientID: "id", Secret: "secret", Method: "client_secret_basic"}},
		{"Basic, and its id again", basic("id:secret"), "client_id=id", credential.Presented{ClientID: "id", Secret: "secret", Method: "client_secret_basic"}},
		{"Basic, form-encoded", basic("i%3Ad:s+e%2Bc%25"), "", credential.Presented{ClientID: "i:d", Secret: "s e+c%", Method: "client_secret_basic"}},
		{"Basic, a colon in the secret", basic("id:sec:ret"), "", credential.Presented{ClientID: "id", Secret: "sec:ret", Method: "client_secret_basic"}},
		{"Basic without a secret", basic("id:"), "", credential.Presented{ClientID: "id", Method: "client_secret_basic"}},
		{"a secret", "", "client_id=id&client_secret=s+e%2Bc", credential.Presented{ClientID: "id", Secret: "s e+c", Method: "client_secret_post"}},
		{"an assertion", "", assertion, credential.Presented{Assertion: "a.b.c", Method: "private_key_jwt"}},
		{"an assertion, and its id", "", "client_id=id" + assertion, credential.Presented{ClientID: "id", Assertion: "a.b.c", Method: "private_key_jwt"}},
		{"Basic, and parameters without values", basic("id:secret"), "client_secret=&client_assertion=&client_assertion_type=", credential.Presented{ClientID: "id", Secret: "secret", Method: "client_secret_basic"}},
	} {
		h := http.Header{}
		if tt.authorization != "" {
			h.Set("Authorization", tt.authorization)
		}
		form, err := url.ParseQuery(tt.form)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := readClient(h, form); err != nil || *got != tt.want {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
}
