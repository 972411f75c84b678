package store

import (
	"context"
	"database/sql"
	"sync"
	"time"

	"github.com/sentryagent/agentidp/internal/limit"
)

// pool is a database/sql pool that prepares each statement text once, where that
// pays. The texts are constants of this package, so their number is bounded.
type pool struct {
	*sql.DB
	prepare bool

	mu       sync.RWMutex
	prepared map[string]*sql.Stmt
}

func newPool(db *sql.DB, prepare bool) *pool {
	return &pool{DB: db, prepare: prepare, prepared: make(map[string]*sql.Stmt)}
}

// lookup returns the statement if it is prepared already.
func (p *pool) lookup(text string) *sql.Stmt {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.prepared[text]
}

// statement returns the prepared statement. It needs a free connection, so a
// transaction on a pool of one must not call it.
func (p *pool) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	if s := p.lookup(text); s != nil {
		return s, nil
	}
	s, err := p.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if first := p.prepared[text]; first != nil { // somebody was faster
		defer func() { _ = s.Close() }()
		return first, nil
	}
	p.prepared[text] = s
	return s, nil
}

// QueryContext is that of sql.DB, by a prepared statement where that pays.
func (p *pool) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	limit.Waits(ctx)
	if !p.prepare {
		return p.DB.QueryContext(ctx, text, args...)
	}
	s, err := p.statement(ctx, text) //nolint:sqlclosecheck // the pool keeps it.
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

// BeginTx is that of sql.DB, over another connection where one has ended, as all do when
// the server is restarted: BEGIN does nothing, whatever became of it. Not after a while:
// then a connection was silent, and another may be too.
func (p *pool) BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error) {
	began := time.Now()
	for try := 0; ; try++ {
		tx, err := p.DB.BeginTx(ctx, opts)
		if err == nil || try == maxRetries || !ended(err) || time.Since(began) > quiet {
			return tx, err
		}
	}
}

// steps is a transaction whose statements run when they are queued: the engine is in this
// process. It uses what is prepared; what is not runs once unprepared and is prepared by
// finish.
type steps struct {
	ctx    context.Context // of the transaction, which outlives its callers'
	pool   *pool
	tx     *sql.Tx
	err    error // of the first statement that failed; those after it do not run
	missed []string
}

func beginSteps(ctx context.Context, p *pool) (transaction, error) {
	tx, err := p.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	return &steps{ctx: ctx, pool: p, tx: tx}, nil
}

func (s *steps) enqueue(text string, args []any, each func(row) error) {
	switch {
	case s.err != nil:
	case each == nil:
		s.err = s.exec(text, args)
	default:
		s.err = s.scan(text, args, each)
	}
}

func (s *steps) flush() error { return s.err }

func (s *steps) commit() error {
	if s.err != nil {
		return s.err
	}
	return finishCommit(s.tx.Commit())
}

func (s *steps) end() {
	_ = s.tx.Rollback() // after a commit it does nothing
	s.finish()
}

// scan calls each for every row of a query.
func (s *steps) scan(text string, args []any, each func(row) error) error {
	rows, err := s.query(text, args)
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

func (s *steps) query(text string, args []any) (*sql.Rows, error) {
	if stmt := s.stmt(text); stmt != nil { //nolint:sqlclosecheck // the transaction closes it.
		return stmt.QueryContext(s.ctx, args...)
	}
	return s.tx.QueryContext(s.ctx, text, args...)
}

func (s *steps) exec(text string, args []any) error {
	var err error
	if stmt := s.stmt(text); stmt != nil { //nolint:sqlclosecheck // the transaction closes it.
		_, err = stmt.ExecContext(s.ctx, args...)
	} else {
		_, err = s.tx.ExecContext(s.ctx, text, args...)
	}
	return err
}

func (s *steps) stmt(text string) *sql.Stmt {
	if !s.pool.prepare {
		return nil
	}
	stmt := s.pool.lookup(text)
	if stmt == nil {
		s.missed = append(s.missed, text)
		return nil
	}
	return s.tx.StmtContext(s.ctx, stmt)
}

// finish prepares what was missed, for the next time. Call it after the
// transaction. It is an optimisation: what fails now will be tried again.
func (s *steps) finish() {
	for _, text := range s.missed {
		if _, err := s.pool.statement(s.ctx, text); err != nil { //nolint:sqlclosecheck // the pool keeps it.
			return
		}
	}
}
