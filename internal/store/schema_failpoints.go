//go:build failpoints

package store

import (
	"io/fs"
	"os"
)

// In a test build, MIGRATIONS in the environment names a folder with further migrations:
// the program is then the next version of itself, as far as the database is concerned.
func migrationFiles() fs.FS {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err)
	}
	if folder := os.Getenv("MIGRATIONS"); folder != "" {
		return both{os.DirFS(folder), files}
	}
	return files
}

// both are the files of two folders.
type both [2]fs.FS

func (b both) Open(name string) (fs.File, error) {
	if f, err := b[0].Open(name); err == nil && name != "." {
		return f, nil
	}
	return b[1].Open(name)
}

func (b both) Glob(pattern string) ([]string, error) {
	first, err := fs.Glob(b[0], pattern)
	if err != nil {
		return nil, err
	}
	second, err := fs.Glob(b[1], pattern)
	return append(first, second...), err
}
