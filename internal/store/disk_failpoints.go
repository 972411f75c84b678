//go:build failpoints

package store

import (
	"database/sql"
	"sync"
	"unsafe"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/sentryagent/agentidp/internal/failpoint"
)

// In a test build, what SQLite asks of the disk passes the disk's failpoints first: its
// default VFS opens files whose methods fail as they are told, with the results that the
// real ones give for the error of the operating system. A preloaded library, the usual
// way to do this, would change nothing: the program is static.
func init() {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		panic(err)
	}
	if err := db.Ping(); err != nil { //nolint:noctx // an init has none. SQLite is initialized from here on
		panic(err)
	}
	if err := db.Close(); err != nil {
		panic(err)
	}
	breakDisk(sqlite3.Xsqlite3_vfs_find)
}

// disk is the default VFS with methods that can fail. TLS is the thread of a C program,
// a type of a package that is no dependency of ours; the methods hand on what they are
// given.
type disk[TLS any] struct {
	open  func(tls *TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32
	xOpen func(tls *TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32

	mu      sync.Mutex
	methods map[uintptr]*methods[TLS] // by those of the default VFS
}

// methods are those of an open file. What SQLite keeps are addresses: this keeps the
// functions behind them.
type methods[TLS any] struct {
	table    *sqlite3.Tsqlite3_io_methods // one of tables
	read     func(tls *TLS, file, buffer uintptr, n int32, offset int64) int32
	write    func(tls *TLS, file, buffer uintptr, n int32, offset int64) int32
	truncate func(tls *TLS, file uintptr, size int64) int32
	sync     func(tls *TLS, file uintptr, flags int32) int32
}

// tables are in static memory, as the default VFS's are: the race detector's rules for
// pointers forbid C code to find its way to anything that is allocated by Go.
var tables [16]sqlite3.Tsqlite3_io_methods

// kept is never collected: SQLite has its address.
var kept []any

// breakDisk takes the place of the default VFS's xOpen.
func breakDisk[TLS any](find func(*TLS, uintptr) uintptr) {
	d := &disk[TLS]{methods: map[uintptr]*methods[TLS]{}}
	vfs := at[sqlite3.Tsqlite3_vfs](find(new(TLS), 0))
	become(&d.open, vfs.FxOpen)
	d.xOpen = d.openBreakable
	vfs.FxOpen = address(&d.xOpen)
	kept = append(kept, d)
}

// at is what is at an address in C's memory.
func at[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) } //nolint:gosec // what it says

// A pointer to a C function and a function of Go are the same.
func address[F any](f *F) uintptr         { return *(*uintptr)(unsafe.Pointer(f)) } //nolint:gosec // as said
func become[F any](f *F, address uintptr) { *f = *(*F)(unsafe.Pointer(&address)) }  //nolint:gosec // as said

// openBreakable opens a file of a file system that may be read-only, and gives it methods that
// can fail.
func (d *disk[TLS]) openBreakable(tls *TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32 {
	if failpoint.Hit(failpoint.DiskReadOnly) != nil {
		if flags&sqlite3.SQLITE_OPEN_CREATE != 0 && flags&sqlite3.SQLITE_OPEN_MAIN_DB == 0 {
			return sqlite3.SQLITE_CANTOPEN
		}
		flags = flags&^(sqlite3.SQLITE_OPEN_READWRITE|sqlite3.SQLITE_OPEN_CREATE) | sqlite3.SQLITE_OPEN_READONLY
	}
	result := d.open(tls, vfs, name, file, flags, outFlags)
	if f := at[sqlite3.Tsqlite3_file](file); result == sqlite3.SQLITE_OK && f.FpMethods != 0 {
		f.FpMethods = address(&d.breakable(f.FpMethods).table)
	}
	return result
}

// breakable returns the methods that stand before some of the default VFS.
func (d *disk[TLS]) breakable(of uintptr) *methods[TLS] {
	d.mu.Lock()
	defer d.mu.Unlock()
	if m := d.methods[of]; m != nil {
		return m
	}
	m := &methods[TLS]{table: &tables[len(d.methods)]}
	*m.table = *at[sqlite3.Tsqlite3_io_methods](of)
	d.methods[of] = m
	var whole methods[TLS] // of the default VFS
	become(&whole.read, m.table.FxRead)
	become(&whole.write, m.table.FxWrite)
	become(&whole.truncate, m.table.FxTruncate)
	become(&whole.sync, m.table.FxSync)

	m.read = func(tls *TLS, file, buffer uintptr, n int32, offset int64) int32 {
		return orFail(func() int32 { return whole.read(tls, file, buffer, n, offset) },
			failure{failpoint.DiskRead, sqlite3.SQLITE_IOERR_READ})
	}
	m.write = func(tls *TLS, file, buffer uintptr, n int32, offset int64) int32 {
		return orFail(func() int32 { return whole.write(tls, file, buffer, n, offset) },
			failure{failpoint.DiskFull, sqlite3.SQLITE_FULL}, failure{failpoint.DiskReadOnly, sqlite3.SQLITE_IOERR_WRITE}, failure{failpoint.DiskWrite, sqlite3.SQLITE_IOERR_WRITE})
	}
	m.truncate = func(tls *TLS, file uintptr, size int64) int32 {
		return orFail(func() int32 { return whole.truncate(tls, file, size) },
			failure{failpoint.DiskReadOnly, sqlite3.SQLITE_IOERR_TRUNCATE})
	}
	m.sync = func(tls *TLS, file uintptr, flags int32) int32 {
		return orFail(func() int32 { return whole.sync(tls, file, flags) }, failure{failpoint.DiskSync, sqlite3.SQLITE_IOERR_FSYNC})
	}
	m.table.FxRead, m.table.FxWrite = address(&m.read), address(&m.write)
	m.table.FxTruncate, m.table.FxSync = address(&m.truncate), address(&m.sync)
	return m
}

// failure is a point, and the result of a method that fails there.
type failure struct {
	at     failpoint.Point
	result int32
}

// orFail calls a method, unless a test wants it to fail.
func orFail(method func() int32, failures ...failure) int32 {
	for _, f := range failures {
		if failpoint.Hit(f.at) != nil {
			return f.result
		}
	}
	return method()
}
