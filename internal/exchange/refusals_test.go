package exchange

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/verify"
)

// Anyone can send nonsense: it costs a counter, and one line and one place in the
// sample a second.
func TestRefusalsAreCountedAndSampled(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	start := time.Now()
	now := start
	r := newTally(slog.New(slog.NewJSONHandler(&log, nil)), func() time.Time { return now })
	for i := range 100 {
		if err := r.note("a", fmt.Sprint("request ", i), "github", verify.UnknownIssuer("https://ci.example")); err == nil {
			t.Fatal("the error is lost")
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines in one instant", n)
	}
	_ = r.note("b", "of another", "", verify.UnknownIssuer("https://ci.example")) // sampled: it is another organization's
	now = now.Add(time.Second)
	_ = r.note("a", "later", "", verify.UnknownIssuer("https://other.example"))
	if !strings.Contains(log.String(), `"not_logged_before":100`) {
		t.Errorf("the second line does not tell of the others: %s", log.String())
	}
	r.count("a", "too many", refused{agentidp.CodeRateLimited, "github"}, nil)
	unavailable := agentidp.NewError(agentidp.Unavailable, agentidp.CodeIssuerUnreachable, "")
	for _, err := range []error{unavailable, errors.New("a fault of ours")} {
		if got := r.note("a", "request", "github", err); !errors.Is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
	for org, want := range map[string]*agentidp.Refusals{
		"a": {
			Since:  start,
			Counts: []agentidp.RefusalCount{{Reason: "issuer", Count: 1}, {Reason: "issuer", Provider: "github", Count: 100}, {Reason: "rate_limited", Provider: "github", Count: 1}},
			Latest: []agentidp.Refusal{
				{At: now, RequestID: "later", Reason: "issuer", Detail: `issuer: "https://other.example" is the issuer of no provider`},
				{At: start, RequestID: "request 0", Reason: "issuer", Provider: "github", Detail: `issuer: "https://ci.example" is the issuer of no provider`},
			},
		},
		"b": {
			Since: start, Counts: []agentidp.RefusalCount{{Reason: "issuer", Count: 1}},
			Latest: []agentidp.Refusal{{At: start, RequestID: "of another", Reason: "issuer", Detail: `issuer: "https://ci.example" is the issuer of no provider`}},
		},
		"nobody": {Since: start, Counts: []agentidp.RefusalCount{}, Latest: []agentidp.Refusal{}},
	} {
		if diff := cmp.Diff(want, r.Of(org)); diff != "" {
			t.Errorf("of %s:\n%s", org, diff)
		}
	}
}

// The sample is the latest hundred, whatever came before, and no entry is longer than
// what a person reads.
func TestTheSampleOfRefusalsIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := newTally(slog.New(slog.DiscardHandler), func() time.Time { return now })
	const sent = 250
	for i := range sent {
		now = now.Add(time.Second)
		_ = r.note("a", fmt.Sprint(i), "", verify.UnknownIssuer(strings.Repeat("\u202e\x1b\xff", 300)))
		latest := r.Of("a").Latest
		if len(latest) != min(i+1, maxSample) {
			t.Fatalf("%d sent, and %d in the sample", i+1, len(latest))
		}
		for j, got := range latest {
			if got.RequestID != fmt.Sprint(i-j) {
				t.Fatalf("%d sent, and place %d has request %s", i+1, j, got.RequestID)
			}
		}
	}
	strange := func(c rune) bool { return !unicode.IsPrint(c) }
	if text := r.Of("a").Latest[0].Detail; len(text) > maxDetail+len("…") || !utf8.ValidString(text) || strings.ContainsFunc(text, strange) {
		t.Errorf("%d bytes: %q", len(text), text)
	}
	now = now.Add(-time.Hour) // a clock that is set back
	_ = r.note("a", "after", "", verify.UnknownIssuer("x"))
	if got := r.Of("a"); got.Latest[0].RequestID != "after" || got.Counts[0].Count != sent+1 {
		t.Errorf("%+v", got)
	}
}

func TestTheRequestItself(t *testing.T) {
	t.Parallel()
	empty := func(field string) []agentidp.FieldError {
		return []agentidp.FieldError{{Field: field, Reason: "is empty"}}
	}
	long := func(n int) string { return strings.Repeat("a", n) }
	for _, tt := range []struct {
		name        string
		request     Request
		code, field string
	}{
		{"a token", Request{Token: "x"}, "", ""},
		{"everything", Request{Token: "x", AgentID: "y", Scope: "a:b c:d", Audience: "https://a.example"}, "", ""},
		{"an agentId that is no id", Request{Token: "x", AgentID: "no id"}, "", ""}, // answered like an unknown one
		{"the longest scope name", Request{Token: "x", Scope: long(128)}, "", ""},
		{"no token", Request{}, agentidp.CodeInvalidRequest, "token"},
		{"an empty token", Request{Bad: empty("token")}, agentidp.CodeInvalidRequest, "token"},
		{"an empty agentId is no bootstrap request", Request{Token: "x", Bad: empty("agentId")}, agentidp.CodeInvalidRequest, "agentId"},
		{"a long agentId", Request{Token: "x", AgentID: long(65)}, agentidp.CodeInvalidRequest, "agentId"},
		{"a long scope", Request{Token: "x", Scope: long(2049)}, agentidp.CodeInvalidScope, "scope"},
		{"a scope twice", Request{Token: "x", Scope: "a:b a:b"}, agentidp.CodeInvalidScope, "scope"},
		{"a path as audience", Request{Token: "x", Audience: "/x"}, agentidp.CodeInvalidTarget, "audience"},
		{"an audience with a fragment", Request{Token: "x", Audience: "https://a#"}, agentidp.CodeInvalidTarget, "audience"},
		{"a long audience", Request{Token: "x", Audience: "https://" + long(248)}, agentidp.CodeInvalidTarget, "audience"},
	} {
		_, err := tt.request.check()
		if tt.code == "" {
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if e := agentidp.AsError(err); e.Kind != agentidp.Invalid || e.Code != tt.code || len(e.Details) != 1 || e.Details[0].Field != tt.field {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
