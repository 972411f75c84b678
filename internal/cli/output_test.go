package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/sentryagent/agentidp"
)

// hostile holds what could command a terminal, or show a text as another, and what
// could not: ESC, DEL, the C1 control CSI, a bare byte of it, what turns the
// direction of the text, what joins and tags it, a line's end; and words.
const hostile = "\x1b[2J\x7f\u009b2J\x9b\u202e\u200d\U000e0041\u2028 größer 東京 \U0001f916"

// legible is the same, as JSON shows it.
const legible = `\u001b[2J\u007f\u009b2J\ufffd\u202e\u200d\udb40\udc41\u2028 größer 東京 🤖`

// raw is a JSON string that holds it as far as JSON allows.
var raw = `"` + strings.ReplaceAll(hostile, "\x1b", `\u001b`) + `"`

func TestNothingThatIsPrintedCommandsTheTerminal(t *testing.T) {
	t.Parallel()
	token, err := newSigner(t).Sign(hostile, []byte(`{"sub": `+raw+`, "list": [`+raw+`], `+raw+": 1}"))
	if err != nil {
		t.Fatal(err)
	}
	noObject, err := newSigner(t).Sign("at+jwt", []byte(hostile))
	if err != nil {
		t.Fatal(err)
	}
	answer := func(status int, media, body string) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", media)
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}))
		t.Cleanup(server.Close)
		return "--server=" + server.URL
	}
	active := answer(200, "application/json", `{"active": true, "sub": `+raw+`}`)
	granted := answer(200, "application/json", `{"access_token": `+raw+`, "token_type": "Bearer", "expires_in": 900, "scope": `+raw+`}`)
	refused := answer(403, "application/problem+json", `{"code": `+raw+`, "message": `+raw+`, "claims": {`+raw+`: `+raw+`}}`)
	elsewhere := answer(200, "application/json", `{}`)
	for _, tt := range []struct {
		name, token string
		args        []string
		want        string
	}{
		{"a token's own words", token, []string{"token", "inspect"}, "\n  \"sub\": \"" + legible + "\","},
		{"its header", token, []string{"token", "inspect"}, `"typ":"` + legible + `"`},
		{"a token that is no JSON", noObject, []string{"token", "inspect"}, "(not JSON, "},
		{"what a server says of a token", token, []string{"token", "introspect", active}, "\n  \"sub\": \"" + legible + `"`},
		{"what a server grants", token, []string{"token", "exchange", "--token-file=-", granted}, "?[2J??2J"},
		{"what a server grants, as JSON", token, []string{"token", "exchange", "--token-file=-", "--output=json", granted}, `"scope":"` + legible + `"`},
		{"what a server refuses", token, []string{"token", "exchange", "--token-file=-", refused}, "größer 東京"},
		{"a server that is none", token, []string{"token", "inspect", elsewhere}, "is not an issuer's"},
		{"a command line", "", []string{"token", hostile}, "größer 東京"},
	} {
		var stdout, stderr strings.Builder
		Main(t.Context(), tt.args, &IO{In: strings.NewReader(tt.token), Out: &stdout, Err: &stderr})
		printed := stdout.String() + stderr.String()
		if !strings.Contains(printed, tt.want) {
			t.Errorf("%s: %q is not in\n%s", tt.name, tt.want, printed)
		}
		checkPlain(t, tt.name, printed)
	}
	var list strings.Builder
	orgs := []agentidp.Organization{{Slug: hostile, Name: hostile}}
	for _, output := range []string{"table", "json", "id"} {
		if err := printList(&IO{Out: &list}, &Listing{Output: output}, orgColumns, every(orgs)); err != nil {
			t.Fatal(err)
		}
	}
	checkPlain(t, "a list", list.String())
	var stderr strings.Builder
	report(&IO{Err: &stderr}, errors.New(hostile))
	checkPlain(t, "an error", stderr.String())
}

// So is what becomes of an agent.
func TestWhatASuspendedAgentIsCommandsNoTerminal(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"agentId": `+raw+`, "status": `+raw+`}`)
	}))
	t.Cleanup(server.Close)
	t.Setenv("AGENTIDP_TOKEN", "x")
	var out, stderr strings.Builder
	code := Main(t.Context(), []string{"agent", "suspend", "01890000-0000-7000-8000-000000000000", "--server=" + server.URL}, &IO{In: strings.NewReader(""), Out: &out, Err: &stderr})
	if printed := strings.TrimSuffix(out.String(), "\n"); code != exitOK || !strings.Contains(printed, " is ?[2J") || strings.Contains(printed, "\n") {
		t.Errorf("%d: %q %q", code, printed, stderr.String())
	}
	checkPlain(t, "a suspended agent", out.String())
}

// checkPlain is content when a terminal shows a text and does nothing else.
func checkPlain(t *testing.T, name, printed string) {
	t.Helper()
	if at := strings.IndexFunc(printed, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); at >= 0 || !utf8.ValidString(printed) {
		t.Errorf("%s: what is not printable, at %d of %q", name, at, printed)
	}
}

// What is escaped says what it said.
func TestEscapedJSONIsTheSameDocument(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{`{}`, `[` + raw + `]`, `{` + raw + `: {"a": ` + raw + `}}`, `"` + `\\\u202e` + "\u202e" + `"`} {
		var before, after any
		shown := indent([]byte(doc))
		if err := errors.Join(json.Unmarshal([]byte(doc), &before), json.Unmarshal([]byte(shown), &after)); err != nil || !reflect.DeepEqual(before, after) {
			t.Errorf("%q became %q: %v", doc, shown, err)
		}
		checkPlain(t, "JSON", shown)
	}
}
