package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"unicode"

	"github.com/sentryagent/agentidp"
)

// attack is a subject token and what must become of it: "granted"; a reason of
// internal/verify, for a refusal before the signature is proven ("unproven" for
// any); a reason or a code, for one after that; "size" or a code for what is
// refused for the request alone.
type attack struct{ name, token, becomes string }

// attacks makes each attack in turn, with no request to anybody's server allowed.
func (f *forger) attacks(attacks []attack) {
	f.t.Helper()
	for _, a := range attacks {
		f.t.Run(a.name, func(t *testing.T) { f.in(t).becomes(a.token, a.becomes) })
	}
}

var (
	unproven = []string{"format", "issuer", "algorithm", "type", "unknown_key", "signature"}
	reasons  = []string{
		agentidp.ReasonAudienceMismatch, agentidp.ReasonTokenExpired, agentidp.ReasonTokenNotYetValid,
		agentidp.ReasonTokenTooOld, agentidp.ReasonTokenReplayed, agentidp.ReasonClaimInvalid,
	}
)

// becomes sends a token and asserts all that its fate implies.
func (f *forger) becomes(token, fate string) *answer {
	f.t.Helper()
	return f.becomesAfter(0, token, fate)
}

// becomesAfter does that for a token that makes the server fetch keys so often.
func (f *forger) becomesAfter(fetches int, token, fate string) *answer {
	f.t.Helper()
	was := f.ledger()
	a := f.through(f.next(fate)).exchange(exchangeBody(token, f.agentID))
	f.judge(a, token, fate, fetches, was)
	return a
}

// next returns the door of the next attack, so that the corpus goes through all of them
// and takes no longer. What is wrong with a JSON string is nothing that a form can have.
func (f *forger) next(fate string) *door {
	if fate == agentidp.CodeInvalidRequest {
		return nil
	}
	*f.turn++
	return allDoors[*f.turn%len(allDoors)]
}

// judge holds an answer, and what it left behind, against the fate that a token
// was to have.
func (f *forger) judge(a *answer, token, fate string, fetches int, was *ledger) {
	f.t.Helper()
	f.repeatsNothing(a, token)
	is := f.ledger()
	refusals := is.refusedSince(was)
	if fetches > 0 || fate == agentidp.CodeIssuerUnreachable {
		was.dns = is.dns // the provider, and not the token, has said whose address is asked for
	}
	switch {
	case fate == "unproven" || slices.Contains(unproven, fate):
		f.sameAsGarbage(a)
		f.counted(refusals, fate)
		is.expect(f.t, was, rows{}, fetches)
		return
	case fate == "size":
		f.wantAs(a, http.StatusRequestEntityTooLarge, agentidp.CodePayloadTooLarge)
	case fate == agentidp.CodeInvalidRequest:
		f.want(a, http.StatusBadRequest, fate)
	case fate == agentidp.CodeIssuerUnreachable || fate == agentidp.CodeTemporarilyUnavailable:
		f.wantAs(a, http.StatusServiceUnavailable, fate)
		if a.Header.Get("Retry-After") == "" {
			f.t.Error("a 503 without Retry-After")
		}
	default:
		f.decided(a, token, fate, was, is, fetches)
	}
	if len(refusals) > 0 {
		f.t.Errorf("counted as refused before the signature was proven: %v", refusals)
	}
	if a.str("decision_id") == "" {
		is.expect(f.t, was, rows{}, fetches)
	}
}

// decided asserts what holds once the signature is proven: a durable record, and
// an answer that speaks of the caller's own claims alone.
func (f *forger) decided(a *answer, token, fate string, was, is *ledger, fetches int) {
	f.t.Helper()
	wrote, outcome := rows{decisions: 1, events: 1}, agentidp.OutcomeDenied
	switch {
	case fate == "granted":
		f.want(a, http.StatusOK)
		wrote, outcome = rows{decisions: 1, events: 1, tokens: 1, used: 1}, agentidp.OutcomeAllowed
		if is.pins > was.pins { // the first exchange of a repository
			wrote.pins, wrote.events = 1, 2
		}
	case slices.Contains(reasons, fate):
		f.wantAs(a, http.StatusUnauthorized, agentidp.CodeInvalidToken, fate)
	default:
		f.wantAs(a, http.StatusForbidden, fate)
	}
	is.expect(f.t, was, wrote, fetches)

	said := saidBy(f.t, token)
	d := f.decision(a.str("decision_id"))
	own := func(name string) string {
		s, _ := said[name].(string)
		if strings.ContainsFunc(s, unicode.IsControl) { // such a claim is not read
			return ""
		}
		return s
	}
	if d.Outcome != outcome || d.Code != a.str("code") || d.Reason != a.str("reason") || d.Provider != f.names[own("iss")] ||
		d.RequestID != a.Header.Get("X-Request-Id") || (d.TokenID != "") != (fate == "granted") {
		f.t.Errorf("the decision is %+v; answered was %s", d, a.Raw)
	}
	if grant := a.door.grant(); d.GrantType != grant {
		f.t.Errorf("the decision is on %s, and the grant was %s", d.GrantType, grant)
	}
	if d.Repository != own("repository") || d.RepositoryID != own("repository_id") || d.RepositoryOwnerID != own("repository_owner_id") {
		f.t.Errorf("the decision is on another repository: %+v", d)
	}
	shown, _ := a.Body["claims"].(map[string]any)
	for name, value := range shown {
		if value != spell(said[name]) {
			f.t.Errorf("the answer shows %s %v; the token says %v", name, value, said[name])
		}
	}
}

// saidBy returns the claims of a token, with numbers as they are spelled.
func saidBy(t *testing.T, token string) map[string]any {
	t.Helper()
	said := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(unb64(strings.Split(token, ".")[1])))
	d.UseNumber()
	if err := d.Decode(&said); err != nil {
		t.Fatal(err)
	}
	return said
}

// spell is how an answer shows a claim: a date in whole seconds, several values
// with spaces between.
func spell(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		seconds, _ := v.Float64()
		return strconv.FormatInt(int64(seconds), 10)
	case []any:
		var all []string
		for _, element := range v {
			all = append(all, spell(element))
		}
		return strings.Join(all, " ")
	}
	return ""
}

// sameAsGarbage asserts that an answer is, in all but its request id, what
// anything gets that is no acceptable credential.
func (f *forger) sameAsGarbage(a *answer) {
	f.t.Helper()
	f.wantAs(a, http.StatusUnauthorized, agentidp.CodeInvalidToken)
	anonymous := func(a *answer) (string, http.Header) {
		h := maps.Clone(a.Header)
		for _, name := range []string{"X-Request-Id", "Date"} {
			h.Del(name)
		}
		return strings.ReplaceAll(string(a.Raw), quoted(a.Header.Get("X-Request-Id")), `""`), h
	}
	body, headers := anonymous(a)
	wantBody, wantHeaders := anonymous(f.garbage[a.door])
	if body != wantBody || !maps.EqualFunc(headers, wantHeaders, slices.Equal) {
		f.t.Errorf("the answer differs from that to garbage:\n%v %s\n%v %s", headers, body, wantHeaders, wantBody)
	}
	for name := range a.Body {
		if !slices.Contains([]string{"type", "title", "status", "detail", "code", "message", "request_id", "error", "error_description"}, name) {
			f.t.Errorf("the answer has %s, and nothing is proven: %s", name, a.Raw)
		}
	}
}

// counted asserts that one refusal was counted, under its reason, and under a
// provider only where the issuer is one.
func (f *forger) counted(refusals []agentidp.RefusalCount, reason string) {
	f.t.Helper()
	if len(refusals) != 1 || reason != "unproven" && refusals[0].Reason != reason {
		f.t.Errorf("counted were %v, want one for the reason %s", refusals, reason)
		return
	}
	known := refusals[0].Reason != "format" && refusals[0].Reason != "issuer"
	if (refusals[0].Provider != "") != known {
		f.t.Errorf("counted was %+v", refusals[0])
	}
}

// repeatsNothing asserts that no part of a token is in the answer.
func (f *forger) repeatsNothing(a *answer, token string) {
	f.t.Helper()
	for _, part := range append(strings.Split(token, "."), token) {
		if len(part) > 20 && bytes.Contains(a.Raw, []byte(part)) {
			f.t.Errorf("the answer repeats a part of the token: %s", a.Raw)
		}
	}
}

// rows are how many there are in the tables that an exchange may write to.
type rows struct{ decisions, events, tokens, used, pins int }

func (r rows) minus(o rows) rows {
	return rows{r.decisions - o.decisions, r.events - o.events, r.tokens - o.tokens, r.used - o.used, r.pins - o.pins}
}

// ledger is what exchanges leave behind.
type ledger struct {
	rows
	refusals map[agentidp.RefusalCount]int64
	fetches  int64 // key sets, as issuers saw it
	trapped  int64 // connections to an address that only a token named
	dns      int64 // questions, whoever was asked
}

func (f *forger) ledger() *ledger {
	f.t.Helper()
	l := &ledger{refusals: f.refusals(), fetches: f.fetches.Load(), trapped: f.trapped.Load(), dns: dnsQueries.Load() + int64(f.dns.Asked())}
	err := f.rows.QueryRowContext(f.t.Context(), `SELECT (SELECT count(*) FROM decisions), (SELECT count(*) FROM events),
		(SELECT count(*) FROM access_tokens), (SELECT count(*) FROM used_tokens), (SELECT count(*) FROM pins)`).
		Scan(&l.decisions, &l.events, &l.tokens, &l.used, &l.pins)
	if err != nil {
		f.t.Fatal(err)
	}
	return l
}

// refusedSince returns the refusals that were counted since, one by one.
func (l *ledger) refusedSince(was *ledger) []agentidp.RefusalCount {
	var all []agentidp.RefusalCount
	for refusal, n := range l.refusals {
		for range n - was.refusals[refusal] {
			all = append(all, refusal)
		}
	}
	return all
}

// expect asserts which rows were written and that nobody was asked for anything
// but so many key sets.
func (l *ledger) expect(t *testing.T, was *ledger, wrote rows, fetches int) {
	t.Helper()
	if got := l.minus(was.rows); got != wrote {
		t.Errorf("wrote %+v, want %+v", got, wrote)
	}
	if got := l.fetches - was.fetches; got != int64(fetches) {
		t.Errorf("%d requests for keys, want %d", got, fetches)
	}
	if l.trapped != was.trapped || l.dns != was.dns {
		t.Error("the server asked somebody whom only the token named")
	}
}

// dnsQueries counts what the tests of this package ask name servers: nothing.
var dnsQueries atomic.Int64

func init() {
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		dnsQueries.Add(1)
		return nil, errors.New("these tests reach no name server")
	}}
}
