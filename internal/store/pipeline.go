package store

import (
	"context"
	"database/sql"
	"database/sql/driver"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// pipeline is a transaction whose statements are sent together, as far as nobody has to
// know what those before have returned: with the server half a second away, an exchange
// takes three times that, and not twenty.
//
// The last are sent with their COMMIT. The server runs it only if they all succeed: after
// an error it passes over what was sent with the statement.
type pipeline struct {
	ctx     context.Context
	conn    *sql.Conn
	queued  *pgx.Batch
	each    []func(row) error // of those in queued
	awaited bool              // by one of each
	status  byte              // of the transaction as the server has told it last; 0: the connection has ended
	done    string            // what it says that the last statement did
}

// What status is beside that.
const (
	statusIdle   = 'I' // in no transaction
	statusFailed = 'E' // in one that can only be rolled back
)

func beginPipeline(ctx context.Context, p *pool) (transaction, error) {
	conn, err := p.Conn(ctx)
	if err != nil {
		return nil, err
	}
	t := &pipeline{ctx: ctx, conn: conn, queued: new(pgx.Batch), status: statusIdle}
	t.enqueue("begin", nil, nil)
	return t, nil
}

func (t *pipeline) enqueue(text string, args []any, each func(row) error) {
	t.queued.Queue(text, args...)
	t.each = append(t.each, each)
	t.awaited = t.awaited || each != nil
}

func (t *pipeline) flush() error {
	if !t.awaited {
		return nil
	}
	return t.send()
}

// commit knows what was done from the server alone, which ends each answer with where the
// transaction stands. An error of which it says that the transaction is there, and failed,
// is that of a statement before the COMMIT. Where it says nothing any more, the COMMIT may
// have been run; which statement the error came with tells nothing, for what a server has
// answered is lost with it, and a pooler puts words of its own in that place.
func (t *pipeline) commit() error {
	t.enqueue("commit", nil, nil)
	err := t.send()
	switch {
	case err != nil && t.status == statusFailed:
		return err
	case err == nil && t.done != "COMMIT": // so it answers a COMMIT of what has failed
		err = pgx.ErrTxCommitRollback
	}
	return finishCommit(err)
}

// send runs what is queued, with one answer for all.
func (t *pipeline) send() error {
	queued, each := t.queued, t.each
	t.queued, t.each, t.awaited = new(pgx.Batch), nil, false
	return t.conn.Raw(func(c any) error {
		conn := c.(*stdlib.Conn).Conn()
		results := conn.SendBatch(t.ctx, queued)
		var err error
		for i := 0; i < len(each) && err == nil; i++ {
			err = t.answer(results, each[i])
		}
		if end := results.Close(); err == nil {
			err = end
		}
		t.status = 0
		if !conn.IsClosed() {
			t.status = conn.PgConn().TxStatus()
		}
		return err
	})
}

// answer reads what the next statement returns.
func (t *pipeline) answer(results pgx.BatchResults, each func(row) error) error {
	if each == nil {
		tag, err := results.Exec()
		t.done = tag.String()
		return err
	}
	rows, err := results.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (t *pipeline) end() {
	defer func() { _ = t.conn.Close() }() // it goes back to its pool
	if t.status == statusIdle {
		return
	}
	_ = t.conn.Raw(func(c any) error {
		if _, err := c.(*stdlib.Conn).Conn().Exec(t.ctx, "rollback"); err != nil {
			return driver.ErrBadConn // the pool closes it, and the server undoes the transaction
		}
		return nil
	})
}
