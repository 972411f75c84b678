package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/sentryagent/agentidp/internal/failpoint"
)

var (
	// errHeld: a row that the member needs is about to change. Not a result: the
	// member comes again.
	errHeld = errors.New("a row is held by a writer")
	// errPinRaced: another node pinned a repository between our look and our
	// insert. The batch runs again and sees it.
	errPinRaced = fmt.Errorf("pinned by another node at the same moment: %w", ErrStale)
	// errEnded: the connection ended before the COMMIT was sent, as all do when the server
	// is restarted. Nothing was done, and another connection may be well.
	errEnded = errors.New("before the commit")
)

var (
	insertUsed = newInserter("used_tokens", "organization_id, provider, replay_key, decision_id, expires_at",
		" ON CONFLICT DO NOTHING RETURNING decision_id")
	insertPins = newInserter("pins", "organization_id, provider, repository_folded, repository, repository_id, repository_owner_id, pinned_at",
		" ON CONFLICT DO NOTHING RETURNING repository_id")
)

// giveBack undoes the use of a token by this transaction, which nobody else has seen.
const giveBack = "DELETE FROM used_tokens WHERE organization_id = $1 AND provider = $2 AND replay_key = $3"

// raced says that a transaction did nothing and may succeed if run again.
func (c *committer) raced(err error) bool {
	return err == errPinRaced || errors.Is(err, errEnded) || c.db.retryable(err) //nolint:errorlint // errPinRaced is never wrapped
}

// mustShare says that a batch's error is that of each of its members.
func (c *committer) mustShare(err error) bool {
	return errors.Is(err, ErrUnavailable) || (c.db.gone(err) && !c.db.waitedTooLong(err))
}

// batch is one transaction of the committer. Every batch, on every node, takes
// its locks in the same order: organizations, providers, policies, agents, pins,
// used tokens, new pins, and within each by key. Rows are only waited for where
// another batch inserts an equal key, so that order cannot deadlock.
type batch struct {
	*committer
	transaction
	members []*member
}

// transact runs the members in one transaction. nil: it is committed, and each
// member's err is its result.
func (c *committer) transact(ctx context.Context, members []*member) error {
	if err := c.db.broken.err(); err != nil {
		return err
	}
	began := time.Now()
	tx, err := c.db.begin(ctx, c.db.commit)
	if err != nil {
		return err
	}
	defer tx.end()
	for _, m := range members {
		m.err, m.pins = nil, false
	}
	b := &batch{c, tx, members}
	if err := b.run(); err != nil {
		if ended(err) && time.Since(began) <= quiet { // later, it was silent, and another may be too
			err = fmt.Errorf("%w: %w", errEnded, err)
		}
		return err
	}
	if !slices.ContainsFunc(members, func(m *member) bool { return m.err == nil }) {
		return nil // all were refused: what they used is undone with the transaction
	}
	if err := failpoint.Hit(failpoint.BeforeCommit); err != nil {
		return err
	}
	if err := tx.commit(); err != nil {
		return err
	}
	return finishCommit(failpoint.Hit(failpoint.AfterCommit))
}

func (b *batch) run() error {
	if b.db.beginBatch != "" {
		b.enqueue(b.db.beginBatch, nil, nil)
	}
	for _, step := range []func() error{
		b.compareRows,
		pass(failpoint.BeforeUsedTokens), b.useTokens, pass(failpoint.AfterUsedTokens),
		b.createPins, b.writeRecords, pass(failpoint.AfterRecords),
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// pass is a step at which tests can make a batch fail.
func pass(p failpoint.Point) func() error {
	return func() error { return failpoint.Hit(p) }
}

// live ranges over the members that nothing has refused so far.
func (b *batch) live() func(yield func(*member) bool) {
	return func(yield func(*member) bool) {
		for _, m := range b.members {
			if m.err == nil && !yield(m) {
				return
			}
		}
	}
}

// useTokens uses up the subject tokens, and compares the pins: both are asked for at once,
// for of those who come this far hardly any is refused for a pin. Of equal tokens in this
// batch the first counts; of equal ones in the database, that one.
func (b *batch) useTokens() error {
	pins := b.lookAtPins()
	first := make(map[replayKey]*member, len(b.members))
	for m := range b.live() {
		if m.replay.key != "" && first[m.replay] == nil {
			first[m.replay] = m
		}
	}
	users := slices.SortedFunc(maps.Values(first), func(x, y *member) int { return x.replay.compare(y.replay) })
	rows := make([][]any, len(users))
	for i, m := range users {
		rows[i] = m.usedRow
	}
	used := make(map[string]bool, len(users)) // by decision
	b.insertReturning(insertUsed, rows, func(decisionID string) { used[decisionID] = true })
	if err := b.flush(); err != nil {
		return err
	}
	if err := b.comparePins(pins); err != nil {
		return err
	}
	for m := range b.live() {
		switch user := first[m.replay]; {
		case user == nil || user == m && used[m.decisionID]:
		case user.err != nil && used[user.decisionID]:
			m.err = errHeld // by one that was refused, and gives it back
		default:
			m.err = ErrReplayed
		}
	}
	for _, m := range users {
		if m.err != nil && used[m.decisionID] {
			b.enqueue(giveBack, m.usedRow[:3], nil)
		}
	}
	return nil
}

// createPins pins the repositories that nobody has pinned. The first member that
// gets this far with a repository creates its pin.
func (b *batch) createPins() error {
	first := make(map[pinKey]bool)
	var creators []*member
	for m := range b.live() {
		if m.pins && first[m.pin.pinKey] {
			m.pins = false
		}
		if m.pins {
			first[m.pin.pinKey] = true
			creators = append(creators, m)
		}
	}
	slices.SortFunc(creators, func(x, y *member) int { return x.pin.compare(y.pin.pinKey) })
	rows := make([][]any, len(creators))
	for i, m := range creators {
		rows[i] = m.pinRow
	}
	created := 0
	b.insertReturning(insertPins, rows, func(string) { created++ })
	err := b.flush()
	if err == nil && created != len(creators) {
		return errPinRaced
	}
	return err
}

// writeRecords has written what the members that are left have to say: the commit sees to
// it that it is, and nothing of it decides about anybody.
func (b *batch) writeRecords() error {
	n := len(b.members)
	decisions, tokens, events := make([][]any, 0, n), make([][]any, 0, n), make([][]any, 0, 2*n)
	var claims [][]any
	for m := range b.live() {
		if m.decision != nil {
			decisions = append(decisions, m.decision)
		}
		if m.claims != nil {
			claims = append(claims, m.claims)
		}
		if m.tokenRow != nil {
			tokens = append(tokens, m.tokenRow)
		}
		events = append(events, m.events...)
		if m.pins && m.pinEvent != nil {
			events = append(events, m.pinEvent)
		}
	}
	b.insert(insertDecisions, decisions, nil)
	b.insert(insertClaims, claims, nil)
	b.insert(insertTokens, tokens, nil)
	b.insert(insertEvents, events, nil)
	return nil
}

func (b *batch) insert(in *inserter, rows [][]any, each func(row) error) {
	_ = in.each(b.db.dialect, rows, func(text string, args []any) error {
		b.enqueue(text, args, each)
		return nil
	})
}

// insertReturning inserts rows and calls each with what is returned of those that
// were inserted.
func (b *batch) insertReturning(in *inserter, rows [][]any, each func(string)) {
	b.insert(in, rows, func(r row) error {
		var value string
		err := r.Scan(&value)
		each(value)
		return err
	})
}
