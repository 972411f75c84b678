package client

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
)

const storedPolicy = `{"id": "` + policyID + `", "provider": "github", "repository": "acme/deploy", "branch": "main",
	"warnings": [], "matchCount": 0, "createdBy": "admin:1", "createdAt": "2026-11-21T12:00:00Z", "updatedAt": "2026-11-21T12:00:00Z", "revision": 7`

func TestAPolicyIsChangedFromWhatItIs(t *testing.T) {
	t.Parallel()
	stop := errors.New("on second thoughts")
	for _, tt := range []struct {
		name   string
		stored string
		change error
		sent   string // what is put; empty: nothing
		want   string // the error
	}{
		{"one member changes, and all else stays", storedPolicy + "}", nil, `"7" {"provider":"github","repository":"acme/deploy","branch":"release"}`, ""},
		{"what this package does not know is not lost", storedPolicy + `, "moonPhase": "full"}`, nil, "", `"moonPhase"`},
		{"whoever changes it may stop", storedPolicy + "}", stop, "", stop.Error()},
	} {
		sent := ""
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				_, body, _ := strings.Cut(transcript(t, r), "\n\n")
				sent = r.Header.Get("If-Match") + " " + body
			}
			_, _ = w.Write([]byte(tt.stored))
		}))
		_, err := (&Client{BaseURL: server.URL, Token: "the-admin-token"}).ChangeTrustPolicy(t.Context(), policyID, func(spec *agentidp.TrustPolicySpec) error {
			spec.Branch = "release"
			return tt.change
		})
		server.Close()
		if sent != tt.sent || (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, sent %s\nwant %s, %s", tt.name, err, sent, tt.want, tt.sent)
		}
	}
	if _, err := (&Client{BaseURL: "https://idp.example.com"}).ChangeTrustPolicy(t.Context(), "..", nil); err == nil || !strings.Contains(err.Error(), "trust policy id") {
		t.Errorf("an id that is none: %v", err)
	}
}
