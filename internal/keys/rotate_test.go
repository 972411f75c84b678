package keys

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/store"
)

// house is one organization with two nodes on one database, and a clock that stands
// still until it is told. The operator's commands run beside both.
type house struct {
	*testing.T
	db       *store.DB
	now      time.Time
	nodes    [2]*Ring
	operator *Ring
	names    map[string]string // of keys, by kid, in the order in which they were met
}

func newHouse(t *testing.T, alg string) *house {
	t.Helper()
	h := &house{T: t, db: newDB(t), now: now(), names: map[string]string{}}
	newOrg(t, h.db, "org")
	clock := func() time.Time { return h.now }
	master := newMaster(t, "m")
	h.operator = NewRing(h.db, master, alg, clock)
	for i := range h.nodes {
		h.nodes[i] = NewRing(h.db, master, alg, clock)
	}
	return h
}

// org is the organization as it is now, which is how a request has it.
func (h *house) org() *agentidp.Organization {
	h.Helper()
	org, err := h.db.Organization(h.Context(), "org")
	if err != nil {
		h.Fatal(err)
	}
	return org
}

// name gives keys short names: k1, k2, ...
func (h *house) name(kid string) string {
	if h.names[kid] == "" {
		h.names[kid] = fmt.Sprintf("k%d", len(h.names)+1)
	}
	return h.names[kid]
}

func (h *house) kid(name string) string {
	h.Helper()
	for kid, n := range h.names {
		if n == name {
			return kid
		}
	}
	h.Fatalf("no key is called %s", name)
	return ""
}

// says returns what a node does with the organization's keys: who signs, and who
// stands in the key set.
func (h *house) says(node *Ring, org *agentidp.Organization) string {
	h.Helper()
	signer, err := node.Signer(h.Context(), org)
	if err != nil {
		h.Fatal(err)
	}
	signs := h.name(signer.KeyID())
	jwks, _, err := node.JWKS(h.Context(), org)
	if err != nil {
		h.Fatal(err)
	}
	var set struct{ Keys []struct{ Kid string } }
	if err := json.Unmarshal(jwks, &set); err != nil {
		h.Fatal(err)
	}
	var names []string
	for _, k := range set.Keys {
		if key, err := node.Public(h.Context(), org, k.Kid); err != nil || key == nil {
			h.Errorf("%s is published and not known: %v", h.name(k.Kid), err)
		}
		names = append(names, h.name(k.Kid))
	}
	slices.Sort(names)
	return signs + " of " + strings.Join(names, " ")
}

// both asserts what both nodes say now.
func (h *house) both(when, want string) {
	h.Helper()
	for i, node := range h.nodes {
		if got := h.says(node, h.org()); got != want {
			h.Errorf("%s, at node %d: %s, want %s", when, i, got, want)
		}
	}
}

// rotate runs the operator's command ("": planned) and returns what it says.
func (h *house) rotate(compromised string) string {
	h.Helper()
	var r *agentidp.KeyRotation
	var err error
	if compromised == "" {
		r, err = h.operator.Rotate(h.Context(), h.org())
	} else {
		r, err = h.operator.Compromised(h.Context(), h.org(), h.kid(compromised))
	}
	if err != nil {
		h.Fatal(err)
	}
	said := h.name(r.Signing.ID) + " signs"
	if r.Next != nil {
		said += fmt.Sprintf(", %s in %s", h.name(r.Next.ID), r.Next.SignsFrom.Sub(h.now))
	}
	if !r.Changed {
		said += ", as before"
	}
	return said
}

func (h *house) rotates(compromised, want string) {
	h.Helper()
	if got := h.rotate(compromised); got != want {
		h.Errorf("rotate %s: %s, want %s", compromised, got, want)
	}
}

// a key is published, signs, and stays for its tokens, by the clock alone.
func TestAPlannedRotation(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "ES256")
	h.both("at first", "k1 of k1")
	h.rotates("", "k1 signs, k2 in 10m0s")
	h.both("published", "k1 of k1 k2")
	h.now = h.now.Add(4 * time.Minute)
	h.rotates("", "k1 signs, k2 in 6m0s, as before")
	h.now = h.now.Add(6*time.Minute - time.Microsecond)
	h.both("just before its turn", "k1 of k1 k2")
	h.now = h.now.Add(time.Microsecond)
	h.both("at its turn", "k2 of k1 k2")
	h.now = h.now.Add(-time.Second) // a clock that goes back
	h.both("before its turn again", "k1 of k1 k2")
	h.now = h.now.Add(time.Second + LongestLife)
	h.both("when the last token of the old key expires", "k2 of k1 k2")
	h.rotates("", "k2 signs, k3 in 10m0s") // overlapping lives
	h.both("the third is published", "k2 of k1 k2 k3")
	h.now = h.now.Add(slack - time.Microsecond)
	h.both("just before the old key leaves", "k3 of k1 k2 k3")
	h.now = h.now.Add(time.Microsecond)
	h.both("when it leaves", "k3 of k2 k3")
	h.now = h.now.Add(LongestLife + slack)
	h.both("a month later", "k3 of k3")
	fresh := NewRing(h.db, newMaster(t, "m"), "ES256", func() time.Time { return h.now })
	if got := h.says(fresh, h.org()); got != "k3 of k3" {
		t.Errorf("a node that starts then: %s", got)
	}
}

// What signs is as old as its turn, not as its making.
func TestSinceWhenTheOldestKeySigns(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "ES256")
	ring := h.nodes[0]
	if got := ring.OldestTurn(); !got.IsZero() {
		t.Errorf("before any use: %s", got)
	}
	first := h.now
	h.both("at first", "k1 of k1")
	since := func(name string, want time.Time) {
		t.Helper()
		if got := ring.OldestTurn(); !got.Equal(want) {
			t.Errorf("%s: since %s, want %s", name, got, want)
		}
	}
	since("the first", first)
	h.now = h.now.Add(time.Hour)
	since("an hour later", first)
	h.rotates("", "k1 signs, k2 in 10m0s")
	h.both("published", "k1 of k1 k2")
	since("with a successor on its way", first)
	h.now = h.now.Add(Lead)
	since("from the successor's turn on", first.Add(time.Hour+Lead))
}

// The clock's part needs no database: keys take their turns during an outage.
func TestKeysTakeTheirTurnsWithoutStorage(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "ES256")
	h.both("at first", "k1 of k1")
	h.rotates("", "k1 signs, k2 in 10m0s")
	h.both("published", "k1 of k1 k2")
	org := h.org()
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	h.now = h.now.Add(Lead)
	if got := h.says(h.nodes[0], org); got != "k2 of k1 k2" {
		t.Errorf("at its turn: %s", got)
	}
	org.Revision++ // nobody can have read that, and the ring does not pretend
	if _, err := h.nodes[0].Signer(t.Context(), org); err == nil {
		t.Error("a revision that the ring has not read, without storage")
	}
}

func TestCompromisedKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		before []string // rotations, and how far the clock goes after each
		wait   time.Duration
		key    string
		said   string
		now    string
		later  string // after another ten minutes
	}{
		{"the one that signs", nil, 0, "k1", "k2 signs", "k2 of k2", "k2 of k2"},
		{"the one that signs, with a successor on its way", []string{""}, time.Minute, "k1", "k2 signs", "k2 of k2", "k2 of k2"},
		{"the successor", []string{""}, 4 * time.Minute, "k2", "k1 signs, k3 in 10m0s", "k1 of k1 k3", "k3 of k1 k3"},
		{"one that signs no more", []string{""}, time.Hour, "k1", "k2 signs", "k2 of k2", "k2 of k2"},
		{"the one that followed", []string{""}, time.Hour, "k2", "k3 signs", "k3 of k1 k3", "k3 of k1 k3"},
		{"one that left long ago", []string{""}, LongestLife + slack + Lead, "k1", "k2 signs", "k2 of k2", "k2 of k2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, "ES256")
			h.both("at first", "k1 of k1")
			for _, compromised := range tt.before {
				h.rotate(compromised)
			}
			h.now = h.now.Add(tt.wait)
			h.rotates(tt.key, tt.said)
			h.both("at once", tt.now)
			revision := h.org().Revision
			h.rotates(tt.key, tt.said+", as before")
			if h.org().Revision != revision {
				t.Error("a change that changed nothing has a revision")
			}
			h.now = h.now.Add(Lead)
			h.both("later", tt.later)
			h.isDestroyed(tt.key)
		})
	}
}

// isDestroyed asserts that a key given up is a record and nothing else.
func (h *house) isDestroyed(name string) {
	h.Helper()
	rows, err := h.db.SigningKeys(h.Context(), "org")
	if err != nil {
		h.Fatal(err)
	}
	i := slices.IndexFunc(rows, func(k store.SigningKey) bool { return k.KeyID == h.kid(name) })
	if i < 0 || len(rows[i].SealedPrivateKey) != 0 || rows[i].CompromisedAt.IsZero() || len(rows[i].PublicJWK) == 0 {
		h.Errorf("the row of %s is %+v", name, rows[i])
	}
	list, err := h.operator.List(h.Context(), h.org())
	if err != nil || list[i].Status != agentidp.SigningKeyCompromised {
		h.Errorf("%s is listed as %+v, %v", name, list[i], err)
	}
	events, err := h.db.Events(h.Context(), "org", &agentidp.EventFilter{Type: agentidp.EventSigningKeyCompromised}, "", 10)
	if err != nil || len(events) != 1 || events[0].Data["kid"] != h.kid(name) || events[0].Data["alg"] != "ES256" || events[0].Actor != agentidp.ActorOperator {
		h.Errorf("the events are %+v, %v", events, err)
	}
}

func TestAnUnknownKeyIsNotGivenUp(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "ES256")
	h.both("at first", "k1 of k1")
	h.rotates("", "k1 signs, k2 in 10m0s")
	revision := h.org().Revision
	_, err := h.operator.Compromised(t.Context(), h.org(), "nonsense")
	e := agentidp.AsError(err)
	if e.Kind != agentidp.Invalid || !strings.Contains(e.Message, h.kid("k1")) || !strings.Contains(e.Message, h.kid("k2")) {
		t.Errorf("%v", err)
	}
	if h.org().Revision != revision {
		t.Error("something was changed")
	}
	h.both("after it", "k1 of k1 k2")
}

// A key of the algorithm from before takes part in a rotation: it gets an end.
func TestARotationAfterAChangeOfTheAlgorithm(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "ES256")
	h.both("at first", "k1 of k1")
	for _, ring := range []*Ring{h.operator, h.nodes[0], h.nodes[1]} {
		ring.alg = jose.EdDSA
		clear(ring.slots) // they were started again
	}
	h.both("with the other algorithm", "k2 of k1 k2")
	h.rotates("", "k2 signs, k3 in 10m0s")
	h.now = h.now.Add(Lead)
	h.both("at its turn", "k3 of k1 k2 k3")
	h.now = h.now.Add(LongestLife + slack)
	h.both("a month later", "k3 of k3")
}

// What a node read before a change is good for the revision that it was read at, and
// what it reads after is good for both: the commit of an exchange compares.
func TestTheRevisionCarriesTheKeys(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "ES256")
	h.both("at first", "k1 of k1")
	before := h.org()
	h.rotates("k1", "k2 signs")
	if got := h.says(h.nodes[0], before); got != "k1 of k1" {
		t.Errorf("an exchange that began before: %s; its commit fails by the revision", got)
	}
	if got := h.says(h.nodes[0], h.org()); got != "k2 of k2" {
		t.Errorf("one that begins now: %s", got)
	}
	if got := h.says(h.nodes[0], before); got != "k2 of k2" {
		t.Errorf("an old organization brings back an old ring: %s", got)
	}
}

// Two nodes that make the first key at the same instant use the same one.
func TestFirstKeysOfTwoNodes(t *testing.T) {
	t.Parallel()
	for range 8 {
		h := newHouse(t, "EdDSA")
		org := h.org()
		kids := make([]string, 8)
		var wg sync.WaitGroup
		for i := range kids {
			wg.Go(func() {
				signer, err := h.nodes[i%2].Signer(t.Context(), org)
				if err != nil {
					t.Error(err)
					return
				}
				kids[i] = signer.KeyID()
			})
		}
		wg.Wait()
		if rows, err := h.db.SigningKeys(t.Context(), "org"); err != nil || len(rows) != 1 || len(slices.Compact(kids)) != 1 {
			t.Fatalf("%d keys, %v; used were %v", len(rows), err, kids)
		}
		h.both("after it", "k1 of k1")
	}
}

// Many operators at once: one rotation is under way, whoever began it.
func TestRotationsAtTheSameTime(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "EdDSA")
	h.both("at first", "k1 of k1")
	var wg sync.WaitGroup
	changed := make([]bool, 8)
	for i := range changed {
		wg.Go(func() {
			r, err := h.operator.Rotate(t.Context(), &agentidp.Organization{ID: "org"})
			if err != nil {
				t.Error(err)
				return
			}
			changed[i] = r.Changed
		})
	}
	wg.Wait()
	if n := len(slices.DeleteFunc(changed, func(c bool) bool { return !c })); n != 1 {
		t.Errorf("%d rotations, want 1", n)
	}
	h.both("after it", "k1 of k1 k2")
}

func TestHowKeysAreListed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "ES256")
	h.both("at first", "k1 of k1")
	h.now = h.now.Add(time.Second) // keys of one instant have no order
	h.rotate("")
	listed := func(want ...agentidp.SigningKeyStatus) {
		t.Helper()
		list, err := h.operator.List(t.Context(), h.org())
		if err != nil {
			t.Fatal(err)
		}
		var got []agentidp.SigningKeyStatus
		for _, k := range list {
			got = append(got, k.Status)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	listed("signing", "pending")
	h.now = h.now.Add(Lead)
	listed("verifying", "signing")
	h.now = h.now.Add(LongestLife + slack)
	listed("retired", "signing")
}

// A node that read the keys while its clock was far ahead forgets none of them: it
// heals when its clock does.
func TestAClockThatWasFarAhead(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "ES256")
	h.both("at first", "k1 of k1")
	h.now = h.now.Add(time.Second)
	h.rotate("")
	h.now = h.now.Add(Lead)
	h.both("after a rotation", "k2 of k1 k2")
	right := h.now
	h.now = h.now.Add(2 * LongestLife)
	ahead := NewRing(h.db, h.operator.master, "ES256", h.operator.clock)
	if got := h.says(ahead, h.org()); got != "k2 of k2" {
		t.Errorf("far ahead: %s", got)
	}
	h.now = right
	if got := h.says(ahead, h.org()); got != "k2 of k1 k2" {
		t.Errorf("with the right time again: %s", got)
	}
}
