package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/sentryagent/agentidp/internal/failpoint"
)

var (
	// errHeld: a row that the member needs is about to change. Not a result: the
	// member comes again.
	errHeld = errors.New("a row is held by a writer")
	// errPinRaced: another node pinned a repository between our look and our
	// insert. The batch runs again and sees it.
	errPinRaced = fmt.Errorf("pinned by another node at the same moment: %w", ErrStale)
)

var (
	insertUsed = newInserter("used_tokens", "organization_id, provider, replay_key, decision_id, expires_at",
		" ON CONFLICT DO NOTHING RETURNING decision_id")
	insertPins = newInserter("pins", "organization_id, provider, repository_folded, repository, repository_id, repository_owner_id, pinned_at",
		" ON CONFLICT DO NOTHING RETURNING repository_id")
)

// raced says that a transaction did nothing and may succeed if run again.
func (c *committer) raced(err error) bool {
	return err == errPinRaced || c.db.retryable(err) //nolint:errorlint // it is never wrapped
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
	*steps
	members []*member
}

// transact runs the members in one transaction. nil: it is committed, and each
// member's err is its result.
func (c *committer) transact(ctx context.Context, members []*member) error {
	if err := c.db.broken.err(); err != nil {
		return err
	}
	s, err := c.db.commit.begin(ctx)
	if err != nil {
		return err
	}
	defer s.finish()
	defer func() { _ = s.tx.Rollback() }() // after a commit it does nothing
	for _, m := range members {
		m.err, m.pins = nil, false
	}
	b := &batch{c, s, members}
	if err := b.run(); err != nil {
		return err
	}
	if !slices.ContainsFunc(members, func(m *member) bool { return m.err == nil }) {
		return nil // all were refused, and nothing was written
	}
	if err := failpoint.Hit(failpoint.BeforeCommit); err != nil {
		return err
	}
	if err := s.tx.Commit(); err != nil {
		return c.db.finishCommit(err)
	}
	return c.db.finishCommit(failpoint.Hit(failpoint.AfterCommit))
}

func (b *batch) run() error {
	if b.db.beginBatch != "" {
		if err := b.exec(b.db.beginBatch, nil); err != nil {
			return err
		}
	}
	for kind := range versionedTables {
		if err := b.compareRows(kind); err != nil {
			return err
		}
	}
	for _, step := range []func() error{
		b.comparePins,
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

// useTokens uses up the subject tokens. Of equal ones in this batch the first
// counts; of equal ones in the database, that one.
func (b *batch) useTokens() error {
	first := make(map[replayKey]*member, len(b.members))
	for m := range b.live() {
		switch {
		case m.replay.key == "":
		case first[m.replay] != nil:
			m.err = ErrReplayed
		default:
			first[m.replay] = m
		}
	}
	users := slices.SortedFunc(maps.Values(first), func(x, y *member) int { return x.replay.compare(y.replay) })
	rows := make([][]any, len(users))
	refused := make(map[string]*member, len(users)) // by decision
	for i, m := range users {
		rows[i], refused[m.decisionID] = m.usedRow, m
	}
	err := b.insertReturning(insertUsed, rows, func(decisionID string) { delete(refused, decisionID) })
	for _, m := range refused {
		m.err = ErrReplayed
	}
	return err
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
	err := b.insertReturning(insertPins, rows, func(string) { created++ })
	if err == nil && created != len(creators) {
		return errPinRaced
	}
	return err
}

// writeRecords writes what the members that are left have to say.
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
	if err := insertDecisions.each(b.db.dialect, decisions, b.exec); err != nil {
		return err
	}
	if err := insertClaims.each(b.db.dialect, claims, b.exec); err != nil {
		return err
	}
	if err := insertTokens.each(b.db.dialect, tokens, b.exec); err != nil {
		return err
	}
	return insertEvents.each(b.db.dialect, events, b.exec)
}

// insertReturning inserts rows and calls each with what is returned of those that
// were inserted.
func (b *batch) insertReturning(in *inserter, rows [][]any, each func(string)) error {
	return in.each(b.db.dialect, rows, func(text string, args []any) error {
		return b.scan(text, args, func(rows *sql.Rows) error {
			var value string
			err := rows.Scan(&value)
			each(value)
			return err
		})
	})
}

// scan calls each for every row of a query.
func (b *batch) scan(text string, args []any, each func(*sql.Rows) error) error {
	rows, err := b.query(text, args)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // Err has told
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
