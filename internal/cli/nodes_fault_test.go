//go:build failpoints

package cli

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

// a thousand tokens of a CI, each at all three servers at once, are exchanged
// once each.
func TestR13A096OneTokenAtThreeServersAThousandTimes(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, 3, onPostgres(t)...)
	h := newHolder(t, nodes, "raced", "")
	const inWork = 8
	var next atomic.Int64
	var wg sync.WaitGroup
	for range inWork {
		wg.Go(func() {
			for next.Add(1) <= int64(often(10_000, 1_000)) {
				h.race()
			}
		})
	}
	wg.Wait()
}

// race presents one token to all servers at once.
func (h *holder) race() {
	request := client.ExchangeRequest{Token: h.subject(), AgentID: h.agent}
	reasons := make([]string, len(h.nodes))
	var wg sync.WaitGroup
	for node := range h.nodes {
		wg.Go(func() {
			_, err := h.as(node, "").Exchange(h.t.Context(), request)
			_, reasons[node] = refusal(err)
			if err != nil && reasons[node] == "" {
				reasons[node] = err.Error()
			}
		})
	}
	wg.Wait()
	if slices.Sort(reasons); !slices.Equal(reasons, []string{"", agentidp.ReasonTokenReplayed, agentidp.ReasonTokenReplayed}) {
		h.t.Errorf("one token at three servers: %q", reasons)
	}
}

// endings are what ends an agent's grants through the first server, or by a command, and
// the code with which they are refused from then on.
var endings = []struct {
	name string
	slug string // of an organization of its own
	get  func(h *holder, node int) (token, code string)
	end  func(h *holder) error
	code string
}{
	{"a policy is deleted", "", (*holder).exchange, func(h *holder) error {
		return h.at(0).DeleteTrustPolicy(h.t.Context(), h.policy, client.DeleteOptions{})
	}, agentidp.CodeTrustPolicyViolation},
	{"an agent is suspended", "", (*holder).exchange, func(h *holder) error {
		_, err := h.at(0).SuspendAgent(h.t.Context(), h.agent)
		return err
	}, agentidp.CodeAgentNotActive},
	{"a credential is revoked", "", (*holder).authenticate, func(h *holder) error {
		return h.at(0).DeleteCredential(h.t.Context(), h.agent, h.credential)
	}, agentidp.CodeInvalidClient},
	{"an organization is closed", "closing", (*holder).exchange, func(h *holder) error {
		h.nodes[0].program("org", "close", h.slug, "--yes")
		return nil
	}, agentidp.CodeNotFound},
}

// under load at three servers, nothing is issued after the answer to
// whoever has ended what it rests on: not by what clients are answered, nor by what the
// database holds.
func TestR13WhatIsEndedAtOneServerIsIssuedByNone(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, 3, onPostgres(t)...)
	for _, e := range endings {
		for range often(20, 1) {
			slug := e.slug
			if slug != "" {
				slug += "-" + strings.ToLower(agentidp.NewID(time.Now()))
			}
			h := newHolder(t, nodes, "load-"+agentidp.NewID(time.Now()), slug)
			var answered time.Time
			var then int
			db := h.database()
			before := h.underLoad(e.get, e.code, func() {
				if err := e.end(h); err != nil {
					t.Errorf("%s: %v", e.name, err)
				}
				answered = time.Now()
				then = h.granted(db, time.Time{})
			})
			if late := h.granted(db, answered); late > 0 {
				t.Errorf("%s: %d tokens were issued later", e.name, late)
			}
			if n := h.granted(db, time.Time{}); n != then || then < before {
				t.Errorf("%s: %d tokens were issued when it was answered, and %d in all; clients had %d before", e.name, then, n, before)
			}
		}
	}
}

// Clients that get tokens of an agent, at each server as many, before it ends and after.
const (
	crowdOfEach = 4
	crowdBefore = 3 // grants of each client before something ends
	crowdAfter  = 3 // requests of each client that begin after it
)

// underLoad has a crowd get tokens at all servers, one after the other, and does something
// in the midst of it, after which each request that begins is refused with a code. It
// returns how many were granted before.
func (h *holder) underLoad(get func(h *holder, node int) (token, code string), code string, do func()) (before int) {
	h.t.Helper()
	var granted, warm atomic.Int64
	var over atomic.Bool
	var wg sync.WaitGroup
	crowd := crowdOfEach * len(h.nodes)
	for i := range crowd {
		wg.Go(func() {
			mine := 0
			for after := 0; after < crowdAfter && !h.t.Failed(); {
				late := over.Load() // read before the request is sent
				token, got := get(h, i%len(h.nodes))
				switch {
				case got == "" && late:
					h.t.Errorf("granted although it began after the answer: %t", token != "")
				case got == "":
					granted.Add(1)
					if mine++; mine == crowdBefore {
						warm.Add(1)
					}
				case got == code || got == agentidp.CodeTemporarilyUnavailable: // the latter may come at any time
				default:
					h.t.Errorf("refused with %q, want %q", got, code)
				}
				if late {
					after++
				}
			}
		})
	}
	for warm.Load() < int64(crowd) && !h.t.Failed() {
		time.Sleep(time.Millisecond)
	}
	before = int(granted.Load())
	do()
	over.Store(true)
	wg.Wait()
	return before
}

// doors are the ways to use what an agent has: the code with which it is refused at a
// server, empty if it is not.
var doors = map[string]func(h *holder, node int) (code string){
	"an exchange":   func(h *holder, node int) string { _, code := h.exchange(node); return code },
	"a credential":  func(h *holder, node int) string { _, code := h.authenticate(node); return code },
	"the API":       (*holder).call,
	"introspection": (*holder).introspect,
}

func (h *holder) call(node int) (code string) {
	_, err := h.as(node, h.held).ListAgents(h.t.Context(), agentidp.AgentFilter{}, client.ListOptions{Limit: 1})
	return codeOf(err)
}

const inactive = "inactive"

func (h *holder) introspect(node int) (code string) {
	answer, err := h.as(node, "").Introspect(h.t.Context(), h.held)
	if err == nil && !answer.Active {
		return inactive
	}
	return codeOf(err)
}

// revocations are what ends something through the first server, or by a command, and the
// doors that it shuts, with the code of their refusals. The others stay open.
var revocations = []struct {
	name string
	slug string
	end  func(h *holder) error
	shut map[string]string
}{
	{"a token", "", func(h *holder) error { return h.at(0).RevokeToken(h.t.Context(), h.held) },
		map[string]string{"the API": agentidp.CodeInvalidToken, "introspection": inactive}},
	{"all tokens of an agent", "", func(h *holder) error {
		_, err := h.at(0).RevokeTokens(h.t.Context(), agentidp.TokenSelection{AgentID: h.agent})
		return err
	}, map[string]string{"the API": agentidp.CodeInvalidToken, "introspection": inactive}},
	{"a policy and its tokens", "", func(h *holder) error {
		return h.at(0).DeleteTrustPolicy(h.t.Context(), h.policy, client.DeleteOptions{RevokeIssued: true})
	}, map[string]string{"an exchange": agentidp.CodeTrustPolicyViolation, "the API": agentidp.CodeInvalidToken, "introspection": inactive}},
	{"a credential", "", func(h *holder) error { return h.at(0).DeleteCredential(h.t.Context(), h.agent, h.credential) },
		map[string]string{"a credential": agentidp.CodeInvalidClient}},
	{"an agent, for now", "", func(h *holder) error {
		_, err := h.at(0).SuspendAgent(h.t.Context(), h.agent)
		return err
	}, map[string]string{"an exchange": agentidp.CodeAgentNotActive, "a credential": agentidp.CodeAgentNotActive, "the API": agentidp.CodeInvalidToken, "introspection": inactive}},
	{"an agent, for good", "", func(h *holder) error { return h.at(0).DecommissionAgent(h.t.Context(), h.agent) },
		map[string]string{"an exchange": agentidp.CodeAgentNotActive, "a credential": agentidp.CodeInvalidClient, "the API": agentidp.CodeInvalidToken, "introspection": inactive}},
	{"a signing key", "giving-up", func(h *holder) error {
		_, only, _ := strings.Cut(h.nodes[0].program("keys", "list", "--org", h.slug), "\n")
		h.nodes[0].program("keys", "rotate", "--org", h.slug, "--compromised="+strings.Fields(only)[0])
		return nil
	}, map[string]string{"the API": agentidp.CodeInvalidToken, "introspection": inactive}},
	{"an organization", "closing", func(h *holder) error {
		h.nodes[0].program("org", "close", h.slug, "--yes")
		return nil
	}, map[string]string{"an exchange": agentidp.CodeNotFound, "a credential": agentidp.CodeNotFound, "the API": agentidp.CodeNotFound, "introspection": agentidp.CodeNotFound}},
}

// how long until what was ended at one server has ended at the others: no time. Their
// first answers after it are refusals, although they have all of it in their memory.
func TestR29WhatEndsAtOneServerHasEndedAtTheOthers(t *testing.T) {
	t.Parallel()
	nodes := startNodes(t, 3, onPostgres(t)...)
	slowest := map[string]time.Duration{}
	for _, r := range revocations {
		for round := range often(20, 1) {
			slug := r.slug
			if slug != "" {
				slug += "-" + strings.ToLower(agentidp.NewID(time.Now()))
			}
			h := newHolder(t, nodes, "ended-"+agentidp.NewID(time.Now()), slug)
			for range 2 { // the first time it is read, the second time remembered
				h.knock(nil)
			}
			if err := r.end(h); err != nil {
				t.Fatalf("%s: %v", r.name, err)
			}
			answered := time.Now()
			h.knock(r.shut)
			slowest[r.name] = max(slowest[r.name], time.Since(answered))
			if t.Failed() {
				t.Fatalf("%s, round %d", r.name, round+1)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(slowest)) {
		t.Logf("%s: the other servers had refused all of it %v later at the latest, at the first request", name, slowest[name].Round(time.Millisecond))
	}
}

// knock tries all doors of all servers at once: those that are shut refuse, the others do not.
func (h *holder) knock(shut map[string]string) {
	h.t.Helper()
	var wg sync.WaitGroup
	for node := range h.nodes {
		for name, door := range doors {
			wg.Go(func() {
				if code := door(h, node); code != shut[name] {
					h.t.Errorf("%s at server %d: refused with %q, want %q", name, node+1, code, shut[name])
				}
			})
		}
	}
	wg.Wait()
}
