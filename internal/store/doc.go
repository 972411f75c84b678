// Package store keeps everything that AgentIdP remembers, in SQLite or
// PostgreSQL, and owns all SQL.
//
// One SQL text serves both engines; what differs is in a small struct, dialect.
// There are three ways in for requests:
//
//   - the reads, on a DB (each a snapshot of its own) or within a Tx;
//   - DB.Write, one transaction of an administrator's change and its event;
//   - DB.Issue and DB.Record, which share commits with whoever waits at the same
//     time (group commit), because the exchange is what happens often.
//
// Beside them nodes tell each other what was changed (Changes, Notify, Listen), a start
// brings up the schema (Migrate), and a move takes over all of another database (Take).
//
// On PostgreSQL, upstream makes the connections and judges the server at their other end;
// line watches them, so that nobody waits for a server that is gone.
//
// Issue is where an access token becomes real: it compares everything that the
// decision was based on with the database, in the transaction that uses up the
// subject token and records the issued one. That is what lets every cache above
// be stale without harm, and what makes a deletion count from the moment it has
// returned.
//
// The package decides nothing about policies, signs nothing and caches nothing.
// It trusts its callers to have checked what they write; in particular, texts
// without NUL, which PostgreSQL cannot store.
package store
