//go:build !failpoints

package store

import "io/fs"

// migrationFiles are those of this program.
func migrationFiles() fs.FS {
	files, _ := fs.Sub(migrations, "migrations") // the name is a valid one
	return files
}
