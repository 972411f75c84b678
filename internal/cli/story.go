package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"

	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/jose"
)

// story prints what happens for somebody who sees it for the first time. Tokens
// are shown by their beginning and decoded, never whole: a terminal's scrollback
// is kept too.
type story struct {
	out     io.Writer
	chapt   int
	colours bool
}

func newStory(out io.Writer) *story {
	return &story{out: out, colours: isTerminal(out) && os.Getenv("NO_COLOR") == ""}
}

const (
	bold  = "1"
	dim   = "2"
	green = "32"
)

func (s *story) paint(colour, text string) string {
	if !s.colours {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (s *story) title(text string) { fmt.Fprintf(s.out, "\n%s\n", s.paint(bold, text)) }

func (s *story) chapter(text string) {
	s.chapt++
	s.title(fmt.Sprintf("%d. %s", s.chapt, text))
}

func (s *story) say(format string, args ...any) {
	fmt.Fprintf(s.out, "   %s\n", fmt.Sprintf(format, args...))
}

func (s *story) good(format string, args ...any) {
	fmt.Fprintf(s.out, "   %s\n", s.paint(green, "✓ "+fmt.Sprintf(format, args...)))
}

func (s *story) command(format string, args ...any) {
	fmt.Fprintf(s.out, "     %s\n", fmt.Sprintf(format, args...))
}

// block prints a document, indented, with every token in it cut short.
func (s *story) block(prefix, doc string) {
	for line := range strings.Lines(shortenTokens(doc)) {
		fmt.Fprintf(s.out, "   %s %s\n", s.paint(dim, prefix), strings.TrimRight(line, "\n"))
	}
}

// subject shows the claims of a CI token that a decision reads.
func (s *story) subject(token string) {
	parsed, err := jose.Parse(token)
	if err != nil {
		s.say("the CI issued a token that cannot be read: %v", err)
		return
	}
	var all map[string]any
	_ = json.Unmarshal(parsed.Payload, &all) // the emulator's own claims; shown as far as they go
	s.say("The CI issues an ID token to the run. Among its %d claims:", len(all))
	for _, name := range []string{"iss", "aud", "repository", "repository_id", "ref", "event_name", "jti"} {
		s.block(" ", fmt.Sprintf("%-14s %v", name, all[name]))
	}
}

// token shows a token decoded.
func (s *story) token(caption, token string) {
	parsed, err := jose.Parse(token)
	if err != nil {
		s.say("%s: it cannot be read: %v", caption, err)
		return
	}
	s.say("%s (header: alg %s, typ %s, kid %s):", caption, parsed.Header.Alg, parsed.Header.Typ, parsed.Header.Kid)
	s.block(" ", indent(parsed.Payload))
}

// httpClient returns a client whose requests and answers are shown.
func (s *story) httpClient() *http.Client {
	return &http.Client{Timeout: client.DefaultTimeout, Transport: &shown{s}}
}

type shown struct{ *story }

// RoundTrip shows a request, sends it, and shows the answer.
func (t *shown) RoundTrip(req *http.Request) (*http.Response, error) {
	t.block(">", req.Method+" "+req.URL.String())
	if auth := req.Header.Get("Authorization"); auth != "" {
		t.block(">", "Authorization: "+auth)
	}
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		_ = req.Body.Close() // read whole
		req.Body = io.NopCloser(bytes.NewReader(body))
		t.block(">", indent(body))
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument))
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close() // read whole
	resp.Body = io.NopCloser(bytes.NewReader(body))
	t.block("<", resp.Status)
	if len(body) > 0 {
		t.block("<", indent(body))
	}
	return resp, nil
}

var jwt = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`)

func shortenTokens(s string) string {
	return jwt.ReplaceAllStringFunc(s, func(token string) string {
		return fmt.Sprintf("%s…(a JWT of %d bytes)", token[:12], len(token))
	})
}
