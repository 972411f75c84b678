// Package failpoint lets tests make the server fail where the world could: between the
// steps of a commit, in a write to the disk, before an answer leaves.
//
// It owns the names of those places and, in a build with the tag failpoints, what happens
// at them. In any other build Enabled is the constant false and Hit does nothing, so that
// the compiler leaves both out: a release has no switch that somebody could find.
package failpoint

import "errors"

// Point is a place in the program.
type Point string

// The steps of a grant, in the order in which they are taken. A test that kills the
// process at one of them finds what the ones before it have done.
const (
	BeforeSigning    Point = "exchange.before-signing"
	BeforeUsedTokens Point = "store.before-used-tokens"
	AfterUsedTokens  Point = "store.after-used-tokens"
	AfterRecords     Point = "store.after-records"
	BeforeCommit     Point = "store.before-commit"
	AfterCommit      Point = "store.after-commit"
	BeforeAnswer     Point = "exchange.before-answer"
	AfterAnswer      Point = "app.after-answer" // it was written, and may not have been sent
)

// The ends of a migration: in its transaction, before its statements and behind them.
const (
	BeforeMigration Point = "store.before-migration"
	AfterMigration  Point = "store.after-migration"
)

// What SQLite asks of the disk. To fail there is to return the error that the operating
// system has for it.
const (
	DiskWrite    Point = "disk.write"     // EIO
	DiskFull     Point = "disk.full"      // ENOSPC, of a write
	DiskReadOnly Point = "disk.read-only" // EROFS, of a write
	DiskSync     Point = "disk.sync"      // EIO, of fsync
	DiskRead     Point = "disk.read"      // EIO
)

// ErrInjected is what a point returns that was told to fail.
var ErrInjected = errors.New("failed because a test wants it")
