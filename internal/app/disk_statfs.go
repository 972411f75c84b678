//go:build linux || darwin || freebsd

package app

import "syscall"

// freeSpace returns how many bytes this user may still write in a folder.
func freeSpace(dir string) (bytes uint64, known bool) {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return 0, false
	}
	return uint64(s.Bavail) * uint64(s.Bsize), true //nolint:gosec,unconvert // their types differ between systems, and neither is negative
}
