package client

import (
	"net/http"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzError reads any answer of whoever answers at the server's address: a proxy, a page
// of a provider, an attacker. What it makes of it may be printed by a terminal or a CI log:
// one line, without what commands either, and without the token that was sent.
func FuzzError(f *testing.F) {
	const problem, plain = "application/problem+json", "application/json"
	for _, seed := range []struct {
		media, retry, location, body string
	}{
		{problem, "", "", `{"code":"branch_not_permitted","message":"The run is for another branch.","claims":{"ref":"refs/heads/evil"},"details":[{"field":"ref","reason":"is another"}],"request_id":"r1","decision_id":"d1"}`},
		{problem, "7", "", `{"detail":"SECRET","code":"SECRET","reason":"SECRET","request_id":"SECRET","decision_id":"SECRET","claims":{"SECRET":"SECRET"},"details":[{"field":"SECRET","reason":"SECRET"}]}`},
		{plain, "Wed, 21 Oct 2026 07:28:00 GMT", "", `{"error":"invalid_client","error_description":"no \u001b[31mSECRET\n::error::x","code":"invalid_client"}`},
		{problem, "-1", "", "{\"message\":\"\u202e\u0085\ufeff\xff\"}"},
		{"text/html", "99999999999999999999", "https://evil.example/?SECRET", "<script>SECRET</script>"},
		{problem + "; charset=x; =", "", "//SECRET", `{"message":1}`}, {plain, "", "%zz", `[[[[`}, {"", "", "", ""},
	} {
		for _, status := range []int{302, 400, 401, 429, 503} {
			f.Add(status, seed.media, seed.retry, seed.location, seed.body)
		}
	}
	const secret = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzZWNyZXQifQ.c2VjcmV0LXNlY3JldA"
	f.Fuzz(func(t *testing.T, status int, media, retry, location, body string) {
		in := func(s string) string { return strings.ReplaceAll(s, "SECRET", secret) }
		h := http.Header{"Content-Type": {media}, "Retry-After": {in(retry)}, "Location": {in(location)}}
		e := newError(status, h, []byte(in(body)), "", secret)
		text := e.Error()
		if strings.Contains(text, secret) || strings.Contains(e.Code+e.Reason+e.RequestID+e.DecisionID, secret) {
			t.Fatal("the error repeats the token")
		}
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("not one printable line: %q", text)
		}
		if e.Message == "" || e.Status != status || e.RetryAfter < 0 {
			t.Fatalf("%+v", e)
		}
	})
}
