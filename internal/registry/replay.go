package registry

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

// replay holds exchanges of the past against policies as they are now and as they would
// be. Each policy is compiled once.
type replay struct {
	*Registry
	org      *agentidp.Organization
	provider *agentidp.Provider
	kind     *agentidp.ProviderKind
	after    *policy.Compiled // the policy as it would be
	input    policy.Input     // but for the claims
	compiled map[string]*policy.Compiled
	sides    map[[2]string]*sides // by the repository's folded name and its id

	out     agentidp.Backtest
	seen    [2]map[alike]bool
	skipped int
	unkept  map[string]bool // claims that other policies read, and that are not kept
	notes   []string
}

// sides are the candidates of a repository: the policy as it is now, if it is one of them,
// and the others, which are the same on both sides.
type sides struct{ now, others []*policy.Compiled }

// alike is what exchanges have in common of which one is enough of an example.
type alike struct{ repository, subject, ref, event, agent, code string }

func (t *replay) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// replayAll counts as many exchanges as there is time for, the newest first.
func (t *replay) replayAll(ctx context.Context, past []agentidp.Decision) error {
	until := time.Now().Add(cmp.Or(t.ReplayTime, replayTime))
	for i := range past {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i > 0 && time.Now().After(until) {
			t.note("Only the newest %d of %d exchanges were replayed: with the policies that there are, more would take too long. Give a later since, or delete policies that are not used.", i, len(past))
			return nil
		}
		if err := t.replay(ctx, &past[i]); err != nil {
			return err
		}
	}
	return nil
}

// replay counts one exchange. Whether anything is granted is all that most need: why not
// is asked for the examples alone, of which there are few.
func (t *replay) replay(ctx context.Context, d *agentidp.Decision) error {
	claims := t.claimsOf(d)
	if claims == nil {
		t.skipped++
		return nil
	}
	s, err := t.sidesOf(ctx, claims)
	if err != nil {
		return err
	}
	in := t.input
	in.Claims = claims
	after := []*policy.Compiled{t.after}
	own, others := policy.Grants(after, &in), policy.Grants(s.others, &in)
	was, will := others || policy.Grants(s.now, &in), others || own

	t.out.Replayed++
	if t.out.Until == nil {
		t.out.Until = &d.At
	}
	t.out.From = &d.At
	if own {
		t.out.Granted++
	}
	switch {
	case was && will:
		t.out.StillAllowed++
	case !was && !will:
		t.out.StillDenied++
	case will:
		t.change(0, &t.out.NewlyAllowed, d, &in, slices.Concat(s.others, s.now))
	default:
		t.change(1, &t.out.NewlyDenied, d, &in, slices.Concat(s.others, after))
	}
	return nil
}

// claimsOf returns the claims that are kept of an exchange; nil: there are none, or not
// enough of them, because the kind asks for more since then.
func (t *replay) claimsOf(d *agentidp.Decision) *agentidp.Claims {
	if len(d.Claims) == 0 {
		return nil
	}
	claims, _ := t.Verifier.ReadClaims(t.provider, d.Claims) // an error is of the claims
	return claims
}

// change counts an exchange that is decided otherwise, and keeps it for an example if
// there is none like it; refusing are the candidates of the side that refuses it.
func (t *replay) change(side int, c *agentidp.BacktestChange, d *agentidp.Decision, in *policy.Input, refusing []*policy.Compiled) {
	c.Count++
	key := alike{agentidp.FoldRepository(d.Repository), d.Subject, d.Ref, d.Event, d.AgentID, d.Code}
	if len(c.Examples) == maxExamples || t.seen[side][key] {
		return
	}
	if t.seen[side] == nil {
		t.seen[side] = map[alike]bool{}
	}
	t.seen[side][key] = true
	e := agentidp.BacktestExample{DecisionID: d.ID, At: d.At, Repository: d.Repository, Subject: d.Subject, Ref: d.Ref, Event: d.Event, AgentID: d.AgentID}
	if out := policy.Match(refusing, in); out.Err != nil {
		e.Code = out.Err.Code
	}
	own := policy.Match([]*policy.Compiled{t.after}, in)
	if i := slices.IndexFunc(own.Checks, func(c agentidp.Check) bool { return !c.OK }); !own.Granted && i >= 0 {
		e.Check = &own.Checks[i]
	}
	c.Examples = append(c.Examples, e)
}

// sidesOf returns the candidates of an exchange.
func (t *replay) sidesOf(ctx context.Context, c *agentidp.Claims) (*sides, error) {
	key := [2]string{agentidp.FoldRepository(c.Repository), c.RepositoryID}
	if s := t.sides[key]; s != nil {
		return s, nil
	}
	rows, err := t.DB.Candidates(ctx, t.org.ID, t.provider.Name, c.Repository, c.RepositoryID)
	if err != nil {
		return nil, err
	}
	s := &sides{}
	for i := range rows {
		p := &rows[i]
		if t.compiled[p.ID] == nil {
			t.compiled[p.ID] = policy.Compile(p, t.kind)
			for _, claim := range t.unkeptOf(t.compiled[p.ID]) {
				t.unkept[claim] = t.unkept[claim] || p.ID != t.after.Policy.ID && p.AgentID == t.input.AgentID && p.Mode == agentidp.ModeEnforce
			}
		}
		if p.ID == t.after.Policy.ID {
			s.now = append(s.now, t.compiled[p.ID])
		} else {
			s.others = append(s.others, t.compiled[p.ID])
		}
	}
	t.sides[key] = s
	return s, nil
}

// result is what was counted, with all that limits it.
func (t *replay) result() *agentidp.Backtest {
	if t.skipped > 0 {
		t.note("Exchanges whose claims are not kept, and which were left out: %d.", t.skipped)
	}
	maps.DeleteFunc(t.unkept, func(_ string, unkept bool) bool { return !unkept })
	if len(t.unkept) > 0 {
		t.note("Other policies read claims of the tokens that are not kept (%s): what they alone granted counts as refused here.", strings.Join(slices.Sorted(maps.Keys(t.unkept)), ", "))
	}
	t.note("Agents, pins and the other policies are those of now. Scope and audience are not replayed, nor whether a token was used before, nor limits of rates.")
	t.out.Notes = t.notes
	for _, c := range []*agentidp.BacktestChange{&t.out.NewlyAllowed, &t.out.NewlyDenied} {
		if c.Examples == nil {
			c.Examples = []agentidp.BacktestExample{}
		}
	}
	return &t.out
}
