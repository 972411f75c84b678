package main

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// synced is how often SQLite has asked the system to put a file on the disk.
var synced atomic.Int64

// countSyncs gives the files that SQLite opens from now on a method xSync that counts:
// each call is an fdatasync or fsync, which strace shows as well.
func countSyncs() error {
	conn, err := (&sqlite.Driver{}).Open(":memory:") // SQLite is initialized from here on
	if err != nil {
		return err
	}
	count(sqlite3.Xsqlite3_vfs_find)
	return conn.Close()
}

// methods are those of the files of one kind. TLS is the thread of a C program, a type of
// a package that is no dependency of ours.
type methods[TLS any] struct {
	table *sqlite3.Tsqlite3_io_methods
	whole func(tls *TLS, file uintptr, flags int32) int32
	sync  func(tls *TLS, file uintptr, flags int32) int32
}

// tables are in static memory, as those of SQLite are.
var (
	tables [16]sqlite3.Tsqlite3_io_methods
	kept   []any // is never collected: SQLite has its address
)

func count[TLS any](find func(*TLS, uintptr) uintptr) {
	var (
		mu    sync.Mutex
		known = map[uintptr]*methods[TLS]{}
		whole func(tls *TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32
	)
	vfs := at[sqlite3.Tsqlite3_vfs](find(new(TLS), 0))
	become(&whole, vfs.FxOpen)
	open := func(tls *TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32 {
		result := whole(tls, vfs, name, file, flags, outFlags)
		f := at[sqlite3.Tsqlite3_file](file)
		if result != sqlite3.SQLITE_OK || f.FpMethods == 0 {
			return result
		}
		mu.Lock()
		defer mu.Unlock()
		m := known[f.FpMethods]
		if m == nil {
			m = counting[TLS](f.FpMethods, len(known))
			known[f.FpMethods] = m
		}
		f.FpMethods = address(&m.table)
		return result
	}
	vfs.FxOpen = address(&open)
	kept = append(kept, &open, &known)
}

// counting returns methods that do what those of a file do, and count.
func counting[TLS any](of uintptr, place int) *methods[TLS] {
	m := &methods[TLS]{table: &tables[place]}
	*m.table = *at[sqlite3.Tsqlite3_io_methods](of)
	become(&m.whole, m.table.FxSync)
	m.sync = func(tls *TLS, file uintptr, flags int32) int32 {
		synced.Add(1)
		return m.whole(tls, file, flags)
	}
	m.table.FxSync = address(&m.sync)
	return m
}

// at is what is at an address in C's memory.
func at[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) } //nolint:gosec // what it says

// A pointer to a C function and a function of Go are the same.
func address[F any](f *F) uintptr         { return *(*uintptr)(unsafe.Pointer(f)) } //nolint:gosec // as said
func become[F any](f *F, address uintptr) { *f = *(*F)(unsafe.Pointer(&address)) }  //nolint:gosec // as said
