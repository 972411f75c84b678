package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// channel is the name under which nodes on PostgreSQL call each other.
const channel = "agentidp_changes"

// ErrNoCalls says that this database passes no calls between nodes. They look for changes
// all the same.
var ErrNoCalls = errors.New("the database passes no calls on")

// Notify calls the other nodes to look for changes, where Listen works. Nobody needs to
// be heard, so it is no part of any transaction.
func (db *DB) Notify(ctx context.Context) error {
	if db.upstream == nil {
		return nil
	}
	_, err := db.read.ExecContext(ctx, "SELECT pg_notify($1, '')", channel)
	return db.explain(ctx, "call the other nodes", err)
}

// Listen has called signalled when any node calls, until ctx ends or the connection
// fails. It takes a connection of its own. ErrNoCalls: it is of no use here, because of
// the engine, or because a pooler stands before it, which lends connections to one
// transaction at a time: what one of them listens for, another would be told.
func (db *DB) Listen(ctx context.Context, called chan<- struct{}) error {
	if db.upstream == nil {
		return ErrNoCalls
	}
	config := db.upstream.config
	conn, err := pgx.ConnectConfig(ctx, &config)
	if err != nil {
		return db.explain(ctx, "listen for other nodes", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	// A pooler tells its clients a process id of its own making.
	var pid uint32
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&pid); err != nil {
		return db.explain(ctx, "ask who is at the other end", err)
	}
	if pid != conn.PgConn().PID() {
		return ErrNoCalls
	}
	if _, err := conn.Exec(ctx, "LISTEN "+channel, pgx.QueryExecModeSimpleProtocol); err != nil {
		return db.explain(ctx, "listen for other nodes", err)
	}
	signal(called) // for what happened before
	for {
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return db.explain(ctx, "listen for other nodes", err)
		}
		signal(called)
	}
}
