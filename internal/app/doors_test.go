package app

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/sentryagent/agentidp"
)

const tokenPath = "/oauth2/token"

// door is a way in which a CI's token comes in at the token endpoint. Behind it is the
// exchange of the native one, which is the door nil.
type door struct {
	name    string
	refused string            // error of a subject token that is not acceptable, or that no policy allows
	names   map[string]string // of the parameters, by the member of a native exchange's body
	says    map[string]string // what else stands in the form
}

var (
	stsDoor = &door{
		name: "token exchange", refused: "invalid_request", names: map[string]string{"token": "subject_token", "agentId": "agent_id", "scope": "scope", "audience": "audience"},
		says: map[string]string{"grant_type": agentidp.GrantTokenExchange, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt"},
	}
	bearerDoor = &door{
		name: "jwt-bearer", refused: "invalid_grant", names: map[string]string{"token": "assertion", "agentId": "client_id", "scope": "scope", "audience": "resource"},
		says: map[string]string{"grant_type": agentidp.GrantJWTBearer},
	}
	oauthDoors = []*door{stsDoor, bearerDoor}
	allDoors   = []*door{nil, stsDoor, bearerDoor} // nil: the native one
)

// String names the door in tests.
func (d *door) String() string {
	if d == nil {
		return "the native endpoint"
	}
	return d.name
}

// form spells the body of a native exchange as a door has it. What is no string is not
// sent.
func (d *door) form(body map[string]any) string {
	form := url.Values{}
	for name, value := range d.says {
		form.Set(name, value)
	}
	for name, value := range body {
		if s, ok := value.(string); ok {
			form.Set(d.names[name], s)
		}
	}
	return form.Encode()
}

// through returns the same world, whose exchanges go through another door.
func (w *world) through(d *door) *world {
	sub := *w
	sub.door = d
	return &sub
}

// enter sends an exchange through a door.
func (w *world) enter(d *door, body map[string]any) *answer {
	w.t.Helper()
	if d == nil {
		return w.do(http.MethodPost, exchangePath, "", body)
	}
	a := w.do(http.MethodPost, tokenPath, "", d.form(body), "Content-Type", formType)
	a.door = d
	return a
}

// submits is enter for goroutines other than the test's.
func (w *world) submits(body map[string]any) (*answer, error) {
	if w.door == nil {
		return w.send("POST", exchangePath, "", body)
	}
	a, err := w.send("POST", tokenPath, "", w.door.form(body), "Content-Type", formType)
	if err == nil {
		a.door = w.door
	}
	return a, err
}

// isOAuth asserts that an answer has the form of RFC 6749 §5.2, and a challenge only
// where a client failed to authenticate.
func (w *world) isOAuth(a *answer) {
	w.t.Helper()
	if !oauthText.MatchString(a.str("error")) || !oauthText.MatchString(a.str("error_description")) || a.str("code") == "" ||
		a.str("request_id") != a.Header.Get("X-Request-Id") || a.Header.Get("Content-Type") != "application/json" {
		w.t.Errorf("not an error of OAuth: %d %v %s", a.Status, a.Header, a.Raw)
	}
	if challenge := a.Header.Get("WWW-Authenticate"); (challenge != "") != (a.Status == http.StatusUnauthorized) {
		w.t.Errorf("%d with WWW-Authenticate %q", a.Status, challenge)
	}
}

// at returns what a refusal of the native endpoint is at a door of OAuth: its status and
// its error. This is the table of the doors.
func (d *door) at(status int, code string) (int, string) {
	switch {
	case slices.Contains([]string{agentidp.CodeInvalidScope, agentidp.CodeInvalidTarget, agentidp.CodeInvalidRequest}, code):
		return status, code
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return http.StatusBadRequest, d.refused
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return status, "temporarily_unavailable"
	}
	return status, agentidp.CodeInvalidRequest // too large, and the like
}

// wantAs is want for an exchange through any door: status, code and reason are those
// that the native endpoint has.
func (w *world) wantAs(a *answer, status int, codeAndReason ...string) *answer {
	w.t.Helper()
	if a.door == nil || len(codeAndReason) == 0 {
		return w.want(a, status, codeAndReason...)
	}
	status, oauthError := a.door.at(status, codeAndReason[0])
	if w.want(a, status, codeAndReason...); a.str("error") != oauthError {
		w.t.Errorf("at the door %s the error is %q, want %q: %s", a.door.name, a.str("error"), oauthError, a.Raw)
	}
	return a
}

// grant is the grant type of what comes through a door.
func (d *door) grant() string {
	if d == nil {
		return agentidp.GrantTokenExchange
	}
	return d.says["grant_type"]
}
