package store

// row is a row of a result, to be read once.
type row interface{ Scan(into ...any) error }

// transaction is one of the committer's. Its statements take effect in the order in which
// they are enqueued; what of it is sent when, is the engine's.
type transaction interface {
	// enqueue has a statement run. each, which may be nil, is called for each row that it
	// returns, before the next flush has returned.
	enqueue(text string, args []any, each func(row) error)
	// flush runs what is queued, if anything of it returns rows that somebody waits for.
	// After an error there is nothing to do but to end.
	flush() error
	// commit runs what is queued and commits. The error of a statement, of which nothing
	// was done, is as it came; that of the commit is as finishCommit has it.
	commit() error
	// end undoes what was not committed, and gives the connection back.
	end()
}
