package grant_test

import (
	"flag"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/grant"
	"github.com/sentryagent/agentidp/internal/token"
)

// TestMain sets other defaults for the flags of rapid: fewer draws, for one takes some
// commits, and no files of failed ones, for the seed is printed.
func TestMain(m *testing.M) {
	flag.Parse()
	for name, value := range map[string]string{"rapid.checks": "40", "rapid.nofailfile": "true"} {
		if f := flag.Lookup(name); f.Value.String() == f.DefValue {
			if err := f.Value.Set(value); err != nil {
				panic(err)
			}
		}
	}
	m.Run()
}

// however tokens are exchanged, one for the other, and by whomever: none has more
// scope or a longer life than the one that it was got for, and there is an end to it.
func TestNothingGrowsAlongALine(t *testing.T) {
	t.Parallel()
	d := newOwnDesk(t)
	d.change(d.subject.AgentID, func(a *agentidp.Agent) { a.MayDelegateTo = []string{d.actor.AgentID, d.stranger.AgentID} })
	clients := []*agentidp.Client{nil, d.client(d.subject), d.client(d.actor), d.client(d.stranger)}
	scopes := append([]string{"admin", "deploy:more"}, d.subject.Capabilities...)
	rapid.Check(t, func(r *rapid.T) {
		line := []string{d.token(d.subject)}
		depth := map[string]int{line[0]: 0}
		for range rapid.IntRange(4, 10).Draw(r, "exchanges") {
			d.now = d.now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(r, "milliseconds")) * time.Millisecond)
			parent := line[len(line)-1]
			if rapid.IntRange(0, 3).Draw(r, "an earlier one") == 0 {
				parent = rapid.SampledFrom(line).Draw(r, "of")
			}
			req := grant.OwnRequest{
				SubjectToken: parent,
				Client:       rapid.SampledFrom(clients).Draw(r, "by"),
				Audience:     rapid.SampledFrom([]string{"", "", one, two, api}).Draw(r, "audience"),
			}
			if rapid.Bool().Draw(r, "scopes") {
				req.Scope = strings.Join(rapid.SliceOfNDistinct(rapid.SampledFrom(scopes), 1, 2, rapid.ID).Draw(r, "scope"), " ")
			}
			if rapid.Bool().Draw(r, "seconds") {
				req.ExpiresIn = strconv.Itoa(rapid.IntRange(20, 700).Draw(r, "at most"))
			}
			got, err := d.exchange(&req)
			if err == nil && depth[parent] == token.MaxDepth {
				r.Fatal("a fifth exchange was granted")
			}
			if err != nil {
				continue
			}
			was, is := read(t, parent), read(t, got.AccessToken)
			has := strings.Fields(was.Scope)
			for _, scope := range strings.Fields(is.Scope) {
				if !slices.Contains(has, scope) {
					r.Fatalf("%q became %q", was.Scope, is.Scope)
				}
			}
			switch {
			case is.ExpiresAt > was.ExpiresAt || is.ExpiresAt <= is.IssuedAt || is.IssuedAt > d.now.Unix():
				r.Fatalf("until %d became %d–%d", was.ExpiresAt, is.IssuedAt, is.ExpiresAt)
			case is.Subject != was.Subject || actors(is.Act) < actors(was.Act) || actors(is.Act) > actors(was.Act)+1:
				r.Fatalf("%+v became %+v", was, is)
			case is.Act != nil && is.Audience == api:
				r.Fatalf("somebody acts for another at the management API: %+v", is)
			}
			line, depth[got.AccessToken] = append(line, got.AccessToken), depth[parent]+1
		}
	})
}

// A-163, as the row says it: fifty times, each for the one before.
func TestALineOfFifty(t *testing.T) {
	t.Parallel()
	d := newOwnDesk(t)
	held, granted := d.token(d.subject), 0
	for i := range 50 {
		got, err := d.exchange(&grant.OwnRequest{SubjectToken: held})
		if err == nil {
			held, granted = got.AccessToken, i+1
			continue
		}
		if e := agentidp.AsError(err); e.Code != agentidp.CodeInvalidRequest || !strings.Contains(e.Message, "comes from 4 exchanges in a row already") || e.DecisionID == "" {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if granted != token.MaxDepth {
		t.Errorf("%d were granted, want %d", granted, token.MaxDepth)
	}
}

// actors returns how many act, one behind the other.
func actors(a *agentidp.Actor) (n int) {
	for ; a != nil; a = a.Actor {
		n++
	}
	return n
}
