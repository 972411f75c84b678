package client

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sentryagent/agentidp"
)

// Error is the server's refusal. Its texts come from the server, with what is not
// printable and the tokens of the call taken out.
type Error struct {
	Status     int    // HTTP status
	Code       string // one of agentidp's Code constants, stable; empty where the answer was no problem document
	Message    string // a sentence for people, with the remedy where there is one
	Reason     string // refines Code, see agentidp's Reason constants
	Details    []agentidp.FieldError
	Claims     map[string]string // the caller's own claims that the failed check read
	RequestID  string            // names the request in the server's log
	DecisionID string            // names the record of a refused exchange

	// RetryAfter is how long the server asks to wait before another attempt, with 429
	// and 503; 0 where it did not say.
	RetryAfter time.Duration
}

// Error gives the message, then every bad field and claim that it does not say
// already, then in parentheses what an administrator needs to find the case.
func (e *Error) Error() string {
	var more []string
	for _, d := range e.Details {
		if !says(e.Message, d.Field+" "+d.Reason) {
			more = append(more, d.Field+": "+d.Reason)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Claims)) {
		if !says(e.Message, name+" "+e.Claims[name]) {
			more = append(more, fmt.Sprintf("%s = %q", name, e.Claims[name]))
		}
	}
	var b strings.Builder
	b.WriteString(e.Message)
	if len(more) > 0 {
		b.Reset()
		b.WriteString(strings.Join(append([]string{strings.TrimSuffix(e.Message, ".")}, more...), "; "))
	}
	fmt.Fprintf(&b, " (%d", e.Status)
	for _, part := range []struct{ label, value string }{
		{" ", e.Code}, {", ", e.Reason}, {", request ", e.RequestID}, {", decision ", e.DecisionID},
	} {
		if part.value != "" {
			b.WriteString(part.label + part.value)
		}
	}
	if e.RetryAfter > 0 {
		fmt.Fprintf(&b, ", retry after %s", e.RetryAfter.Round(time.Second))
	}
	b.WriteString(")")
	return b.String()
}

// says reports whether a sentence has a text in it, and not as a part of other words.
func says(sentence, text string) bool {
	part := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-/", r) }
	for rest := sentence; text != ""; {
		before, after, found := strings.Cut(rest, text)
		if !found {
			return false
		}
		last, _ := utf8.DecodeLastRuneInString(before)
		next, _ := utf8.DecodeRuneInString(after)
		if !part(last) && !part(next) {
			return true
		}
		rest = after
	}
	return false
}

// newError makes an Error of any answer that is not 2xx. A problem document (RFC
// 9457) speaks for itself, and so does an OAuth error (RFC 6749 §5.2) that has our
// code; of any other body, which may come from a proxy and hold anything, nothing is
// repeated.
func newError(status int, header http.Header, body []byte, secrets ...string) *Error {
	clean := cleaner(secrets)
	var doc struct {
		Code        string                `json:"code"`
		Detail      string                `json:"detail"`
		Message     string                `json:"message"`
		Description string                `json:"error_description"`
		Reason      string                `json:"reason"`
		Details     []agentidp.FieldError `json:"details"`
		Claims      map[string]string     `json:"claims"`
		RequestID   string                `json:"request_id"`
		DecisionID  string                `json:"decision_id"`
	}
	media, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	ours := json.Unmarshal(body, &doc) == nil
	switch media {
	case "application/problem+json":
		doc.Message = cmp.Or(doc.Message, doc.Detail)
	case "application/json":
		ours = ours && doc.Code != ""
		doc.Message = doc.Description
	default:
		ours = false
	}
	if !ours || doc.Message == "" {
		return &Error{Status: status, Message: clean(sentence(status, header)), RetryAfter: retryAfter(header)}
	}
	for i, d := range doc.Details {
		doc.Details[i] = agentidp.FieldError{Field: clean(d.Field), Reason: clean(d.Reason)}
	}
	var claims map[string]string
	if len(doc.Claims) > 0 {
		claims = make(map[string]string, len(doc.Claims))
		for name, value := range doc.Claims {
			claims[clean(name)] = clean(value)
		}
	}
	return &Error{
		Status: status, Code: clean(doc.Code), Message: clean(doc.Message), Reason: clean(doc.Reason),
		Details: doc.Details, Claims: claims, RequestID: clean(doc.RequestID), DecisionID: clean(doc.DecisionID),
		RetryAfter: retryAfter(header),
	}
}

func sentence(status int, header http.Header) string {
	if status >= 300 && status < 400 {
		to := "another address"
		if u, err := url.Parse(header.Get("Location")); err == nil && u.Host != "" {
			to = u.Host
		}
		return "The server redirects to " + to + ", and a redirect is not followed because the token would go along; use the server's own URL."
	}
	return fmt.Sprintf("The server answered %s without a problem document; is there a proxy in front of it, or is it not an AgentIdP server?",
		strings.TrimSpace(fmt.Sprint(status, " ", http.StatusText(status))))
}

// cleaner returns a function that takes the secrets out of a text, and the
// characters by which it could command a terminal or a CI log, or be read as another.
func cleaner(secrets []string) func(string) string {
	return func(s string) string {
		for _, secret := range secrets {
			if secret != "" {
				s = strings.ReplaceAll(s, secret, "[token]")
			}
		}
		return strings.Map(func(c rune) rune {
			if !unicode.IsPrint(c) {
				return ' '
			}
			return c
		}, s)
	}
}
