//go:build unix

package config

import (
	"io/fs"
	"syscall"
)

// Private reports whether nobody but its owner can read a file with a secret in it.
// As with PostgreSQL's key files, one of root's may be readable by its group, which
// is how root hands a secret to a service that does not run as root.
func Private(info fs.FileInfo) bool {
	open := info.Mode().Perm() & 0o077
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid == 0 {
		open &^= 0o040
	}
	return open == 0
}
