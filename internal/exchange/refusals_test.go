package exchange

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/verify"
)

// Anyone can send nonsense: it costs a counter, and one line a second.
func TestRefusalsAreCountedAndSampled(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	now := time.Now()
	r := newRefusals(slog.New(slog.NewJSONHandler(&log, nil)), func() time.Time { return now })
	for range 100 {
		if err := r.note("request", "github", verify.UnknownIssuer("https://ci.example")); err == nil {
			t.Fatal("the error is lost")
		}
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines in one instant", n)
	}
	now = now.Add(time.Second)
	_ = r.note("request", "", verify.UnknownIssuer("https://ci.example"))
	if !strings.Contains(log.String(), `"not_logged_before":99`) {
		t.Errorf("the second line does not tell of the others: %s", log.String())
	}
	unavailable := agentidp.NewError(agentidp.Unavailable, agentidp.CodeIssuerUnreachable, "")
	for _, err := range []error{unavailable, errors.New("a fault of ours")} {
		if got := r.note("request", "github", err); !errors.Is(got, err) {
			t.Errorf("%v became %v", err, got)
		}
	}
	counts := r.Counts()
	if len(counts) != 2 || counts[Refusal{"issuer", "github"}] != 100 || counts[Refusal{"issuer", ""}] != 1 {
		t.Errorf("%v", counts)
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
