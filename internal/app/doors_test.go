package app

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"

	"github.com/sentryagent/agentidp"
)

const tokenPath = "/oauth2/token"

// door is a way in which a CI's token comes in. Behind all of them is one exchange.
type door struct {
	name    string
	refused string            // error of a subject token that is not acceptable, or that no policy allows
	names   map[string]string // of the members of a native exchange's body, in its form; nil: the body is JSON
	says    map[string]string // what else stands in the form
}

var (
	nativeDoor = &door{name: "native"}
	stsDoor    = &door{
		name: "token exchange", refused: "invalid_request", names: map[string]string{"token": "subject_token", "agentId": "agent_id", "scope": "scope", "audience": "audience"},
		says: map[string]string{"grant_type": agentidp.GrantTokenExchange, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt"},
	}
	bearerDoor = &door{
		name: "jwt-bearer", refused: "invalid_grant", names: map[string]string{"token": "assertion", "agentId": "client_id", "scope": "scope", "audience": "resource"},
		says: map[string]string{"grant_type": agentidp.GrantJWTBearer},
	}
	oauthDoors = []*door{stsDoor, bearerDoor}
	allDoors   = []*door{nativeDoor, stsDoor, bearerDoor}
)

// form spells the body of a native exchange as a door of the token endpoint has it.
// Members that have no parameter stay what they are called, and what is no string is
// not sent.
func (d *door) form(body map[string]any) string {
	form := url.Values{}
	for name, value := range d.says {
		form.Set(name, value)
	}
	for name, value := range body {
		if s, ok := value.(string); ok {
			form.Set(d.parameter(name), s)
		}
	}
	return form.Encode()
}

// parameter is what a member of the native body is called at a door.
func (d *door) parameter(member string) string {
	if name := d.names[member]; name != "" {
		return name
	}
	return member
}

// enter sends an exchange through a door, and asserts what holds for every answer: never
// cached, never a token repeated, a documented shape.
func (w *world) enter(d *door, body map[string]any) *answer {
	w.t.Helper()
	var a *answer
	if d.names == nil {
		a = w.do(http.MethodPost, exchangePath, "", body)
	} else {
		a = w.do(http.MethodPost, tokenPath, "", d.form(body), "Content-Type", formType)
	}
	if got := a.Header.Get("Cache-Control"); got != "no-store" {
		w.t.Errorf("Cache-Control is %q, want no-store", got)
	}
	if token, _ := body["token"].(string); len(token) > 20 && bytes.Contains(a.Raw, []byte(token)) {
		w.t.Error("the answer repeats the subject token")
	}
	switch {
	case a.Status == http.StatusOK:
	case d.names == nil:
		w.isProblem(a)
	default:
		w.isOAuth(a)
	}
	return a
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

// at returns what a refusal of the native endpoint is at a door: its status, and of
// OAuth the error. This is table 1.0 of the doors.
func (d *door) at(status int, code string) (int, string) {
	switch {
	case d.names == nil:
		return status, ""
	case slices.Contains([]string{agentidp.CodeInvalidScope, agentidp.CodeInvalidTarget, agentidp.CodeInvalidRequest}, code):
		return status, code
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return http.StatusBadRequest, d.refused
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		return status, "temporarily_unavailable"
	}
	return status, agentidp.CodeInvalidRequest // too large, and the like
}

// wantAt is want for an answer of a door: status, code and reason are those that the
// native endpoint has.
func (w *world) wantAt(d *door, a *answer, status int, codeAndReason ...string) *answer {
	w.t.Helper()
	code := ""
	if len(codeAndReason) > 0 {
		code = codeAndReason[0]
	}
	status, oauthError := d.at(status, code)
	if w.want(a, status, codeAndReason...); code != "" && a.str("error") != oauthError {
		w.t.Errorf("at the door %s the error is %q, want %q: %s", d.name, a.str("error"), oauthError, a.Raw)
	}
	return a
}
