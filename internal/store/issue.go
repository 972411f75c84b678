package store

import (
	"cmp"
	"context"
	"sync/atomic"
	"time"

	agentidp "github.com/sentryagent/agentidp"
)

// Grant is one token that is about to be issued: what the decision was based on, and
// what is to be written. What it was not based on is nil. All rows are written in the
// name of Organization, whatever their own OrganizationID says.
type Grant struct {
	Organization *agentidp.Organization // ID and Revision as seen
	Provider     *agentidp.Provider     // ID "": from the configuration, nothing to compare; else Revision as seen
	Policy       *agentidp.TrustPolicy  // ID, Revision, Repository and Pinned as seen; Pinned nil: this grant pins
	Agent        *agentidp.Agent        // AgentID and Revision as seen; nil in bootstrap mode
	Actor        *agentidp.Agent        // likewise, of the agent that acts for Agent
	Credential   *agentidp.Credential   // CredentialID and Revision as seen, of the client that authenticated
	Source       *agentidp.Credential   // likewise, that the token comes from and nobody presented
	Pin          agentidp.Pin           // the token's ids; no RepositoryID: there is nothing to pin
	ReplayKey    string                 // "": single use is off for this provider
	ReplayUntil  time.Time
	Once         *Once // used up by the grant where no subject token is; nil: nothing
	Token        agentidp.AccessToken
	Decision     agentidp.Decision
	Events       []agentidp.Event // a token_issued among them has the ID and At of Decision, by which it is found
	PinEvent     *agentidp.Event  // appended only if this grant created the pin
}

// Issue makes a grant real, all of it or nothing:
//
//   - nil: everything was as seen, the subject token is used up, and token,
//     decision and events are on disk;
//   - ErrStale: something was not as seen; read again and decide again;
//   - ErrReplayed: the subject token, or Once, was used before;
//   - ErrUnavailable: the storage is gone, or the outcome is unknown. It may have
//     been written, so the subject token must be taken for used;
//   - ctx's error: the caller left before anything began.
//
// Once writing has begun, a caller that leaves cancels nothing.
func (db *DB) Issue(ctx context.Context, g *Grant) error {
	return db.committer.submit(ctx, newGrantMember(g))
}

// Record writes a refused exchange and its events, with the same commit as the
// exchanges of the moment, also if the caller leaves meanwhile; but nobody waits beyond
// his deadline. Errors are those of Issue.
func (db *DB) Record(ctx context.Context, d *agentidp.Decision, events ...agentidp.Event) error {
	m := &member{
		done: make(chan error, 1), matchedAt: d.At, shadows: shadowed(d.OrganizationID, d),
		decision: decisionRow(d.OrganizationID, d), claims: claimsRow(d.OrganizationID, d),
	}
	m.addEvents(d.OrganizationID, events)
	own := context.WithoutCancel(ctx)
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		own, cancel = context.WithDeadline(own, end)
		defer cancel()
	}
	return db.committer.submit(own, m)
}

// Once is something that is good for one use beside subject tokens: a client's
// assertion, a proof of possession.
type Once struct {
	Of    string // whose keys these are; no provider has such a name, nor any issuer
	Key   string
	Until time.Time // from then on it is refused for its age
}

// UseOnce uses something up, with the same commit as the exchanges of the moment.
// ErrReplayed: it was used before, on any node. Other errors are those of Issue.
func (db *DB) UseOnce(ctx context.Context, orgID string, o Once) error {
	m := &member{done: make(chan error, 1)}
	m.useUp(orgID, agentidp.NewID(db.clock()), &o)
	return db.committer.submit(ctx, m)
}

// useUp has the batch use up what nothing may have used before, in the name of a
// decision.
func (m *member) useUp(orgID, decisionID string, o *Once) {
	m.replay, m.decisionID = replayKey{orgID, o.Of, o.Key}, decisionID
	m.usedRow = []any{orgID, o.Of, o.Key, decisionID, micros(o.Until)}
}

// OnceOf is what a proof of possession is used up as: it is one of its key's.
func OnceOf(p *agentidp.Proof) Once {
	return Once{Of: "dpop:" + p.Thumbprint, Key: p.ID, Until: p.Until}
}

// UseProof is UseOnce of a proof of possession. Whoever calls it knows by then that the
// proof comes with something of ours, so that strangers cause no write.
func (db *DB) UseProof(ctx context.Context, orgID string, p *agentidp.Proof) error {
	return db.UseOnce(ctx, orgID, OnceOf(p))
}

// Append writes an event alone, with the same commit as the exchanges of the moment.
// Errors are those of Issue.
func (db *DB) Append(ctx context.Context, e agentidp.Event) error {
	m := &member{done: make(chan error, 1)}
	m.addEvents(e.OrganizationID, []agentidp.Event{e})
	return db.committer.submit(ctx, m)
}

// member is one Issue or Record in a batch. The caller's goroutine fills it, so
// that the committer, of which there is one, has little left to do. It shares
// nothing that the caller may change later.
type member struct {
	seen       [len(versionedTables)]seenRow
	pin        pinSeen
	replay     replayKey // key "": none
	usedRow    []any
	decisionID string
	pinRow     []any
	tokenRow   []any // nil for Record
	decision   []any // nil where there is none
	claims     []any // nil where none are kept
	events     [][]any
	pinEvent   []any
	matchedAt  time.Time
	shadows    []rowID // policies in shadow mode that would have granted

	ctx   context.Context // the caller's: whether it still waits, nothing more
	state atomic.Int32    // memberQueued, memberTaken or memberLeft
	done  chan error      // of capacity 1: the committer never waits for a caller

	err  error // the committer's result of the batch
	pins bool  // this member creates the pin
}

// seenRow is a row that the decision was based on; id "" is none.
type seenRow struct {
	orgID, id string
	revision  int64
}

type pinKey struct{ orgID, provider, repository string }

type pinSeen struct {
	pinKey           // repository "": nothing to pin
	ids    [2]string // the token's: repository, owner
	seen   bool      // the policy was pinned
}

// replayKey is a used token of a provider as usedOf names it.
type replayKey struct{ orgID, provider, key string }

func (k replayKey) compare(other replayKey) int {
	return cmp.Or(cmp.Compare(k.orgID, other.orgID), cmp.Compare(k.provider, other.provider), cmp.Compare(k.key, other.key))
}

// usedOf is what the used tokens of a provider are kept under. A registered one can be
// deleted and its issuer registered anew, under any name, while its tokens live: they
// stay used under the issuer, which no other provider of the organization has.
func usedOf(p *agentidp.Provider) string {
	if p.ID == "" { // of the configuration, as its name
		return p.Name
	}
	return p.Issuer
}

func newGrantMember(g *Grant) *member {
	org := g.Organization.ID
	m := &member{
		done:      make(chan error, 1),
		matchedAt: g.Decision.At,
		shadows:   shadowed(org, &g.Decision),
		tokenRow:  tokenRow(org, &g.Token),
		decision:  decisionRow(org, &g.Decision),
		claims:    claimsRow(org, &g.Decision),
	}
	m.seen[seenOrganization] = seenRow{org, org, g.Organization.Revision}
	if g.Provider != nil {
		m.seen[seenProvider] = seenRow{org, g.Provider.ID, g.Provider.Revision}
	}
	if g.Policy != nil {
		m.seen[seenPolicy] = seenRow{org, g.Policy.ID, g.Policy.Revision}
	}
	if g.Actor != nil {
		m.seen[seenActor] = seenRow{org, g.Actor.AgentID, g.Actor.Revision}
	}
	if g.Credential != nil {
		m.seen[seenCredential] = seenRow{org, g.Credential.CredentialID, g.Credential.Revision}
	}
	if g.Source != nil {
		m.seen[seenSource] = seenRow{org, g.Source.CredentialID, g.Source.Revision}
	}
	if g.Agent != nil {
		m.seen[seenAgent] = seenRow{org, g.Agent.AgentID, g.Agent.Revision}
	}
	if g.ReplayKey != "" {
		m.useUp(org, g.Decision.ID, &Once{Of: usedOf(g.Provider), Key: g.ReplayKey, Until: g.ReplayUntil})
	}
	if g.Once != nil {
		m.useUp(org, g.Decision.ID, g.Once)
	}
	if g.Pin.RepositoryID != "" {
		m.pin = pinSeen{
			pinKey: pinKey{org, g.Provider.Name, agentidp.FoldRepository(g.Policy.Repository)},
			ids:    [2]string{g.Pin.RepositoryID, g.Pin.RepositoryOwnerID},
			seen:   g.Policy.Pinned != nil,
		}
		m.pinRow = []any{org, g.Provider.Name, m.pin.repository, g.Policy.Repository, g.Pin.RepositoryID, g.Pin.RepositoryOwnerID, micros(g.Decision.At)}
	}
	m.addEvents(org, g.Events)
	if g.PinEvent != nil {
		m.pinEvent = eventRow(org, g.PinEvent)
	}
	return m
}

func (m *member) addEvents(orgID string, events []agentidp.Event) {
	m.events = make([][]any, len(events))
	for i := range events {
		m.events[i] = eventRow(orgID, &events[i])
	}
}
