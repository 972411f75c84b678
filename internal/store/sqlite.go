package store

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

var sqliteDialect = &dialect{
	goose:   goose.DialectSQLite3,
	catalog: "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = $1",
	tables:  "SELECT count(*) FROM sqlite_schema WHERE type = 'table'",
	begin:   beginSteps,
	prepare: true,
	unnamed: true,

	unique: func(err error) bool {
		return sqliteCode(err) == sqlite3.SQLITE_CONSTRAINT_UNIQUE ||
			sqliteCode(err) == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
	},
	retryable: func(err error) bool { return sqliteCode(err)&0xff == sqlite3.SQLITE_BUSY },
	gone: func(err error) bool {
		switch sqliteCode(err) & 0xff {
		case 0, // the file was not even asked
			sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_INTERRUPT,
			sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN,
			sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_NOTADB:
			return true
		}
		return false
	},
	waitedTooLong: func(error) bool { return false },
	unconfirmed: func(err error) bool {
		code := sqliteCode(err)
		return code == sqlite3.SQLITE_IOERR_FSYNC || code == sqlite3.SQLITE_IOERR_DIR_FSYNC
	},
}

// sqliteCode returns the extended result code, or 0.
func sqliteCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code()
	}
	return 0
}

// Damaged reports whether an error says that the database file is damaged, or is none.
func Damaged(err error) bool {
	code := sqliteCode(err) & 0xff
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB || errors.Is(err, ErrDamaged)
}

// Damage returns what an error says of a damaged file, without what was being done when it
// was found; nil: it says no such thing.
func Damage(err error) error {
	if !Damaged(err) {
		return nil
	}
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return errors.New(strings.TrimSuffix(e.Error(), fmt.Sprintf(" (%d)", e.Code())))
	}
	return err
}

// openSQLite opens one file twice: a writer, of which there is one, and readers,
// which in WAL mode neither wait for it nor hold it up.
func (db *DB) openSQLite(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("find the database file: %w", err)
	}
	if err := createPrivate(path); err != nil {
		return err
	}
	write, err := sql.Open("sqlite", sqliteDSN(path, "_txlock=immediate"))
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	write.SetMaxOpenConns(1)
	read, err := sql.Open("sqlite", sqliteDSN(path, "_query_only=1"))
	if err != nil {
		return errors.Join(fmt.Errorf("open %s: %w", path, err), write.Close())
	}
	readers := max(4, runtime.GOMAXPROCS(0))
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)

	db.dialect = sqliteDialect
	db.write, db.read = newPool(write, true), newPool(read, true)
	db.commit = db.write
	return nil
}

// createPrivate makes the file readable by its owner alone; SQLite gives its
// companions (-wal, -shm) the same mode. It never opens a file that exists: the
// close would drop the locks that this process holds on it.
func createPrivate(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("create the database file: the folder %s does not exist: create it, or name another in the database URL", filepath.Dir(path))
	case err != nil:
		return fmt.Errorf("create the database file: %w", err)
	}
	return f.Close()
}

// sqliteDSN gives every connection of a pool the same pragmas. A statement waits for
// another process to finish for as long as _busy_timeout says (milliseconds): a quarter
// of txTimeout, because nothing else ends that wait, and a request must get its answer.
func sqliteDSN(path, extra string) string {
	return sqliteFile(path) + "?" + strings.Join([]string{
		"_busy_timeout=2500",
		"_journal_mode=WAL",
		"_synchronous=FULL", // an answered exchange survives a power cut
		"_defensive=1",
		"_dqs=0",
		"_error_rc=1",
		"_pragma=trusted_schema(0)",
		"_pragma=cache_size(-8000)", // KiB
		"_pragma=journal_size_limit(67108864)",
		extra,
	}, "&")
}
