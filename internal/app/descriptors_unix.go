//go:build unix

package app

import "syscall"

// descriptors returns how many files and connections this process may have open at once.
func descriptors() (n uint64, known bool) {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0, false
	}
	return uint64(l.Cur), true //nolint:unconvert // its type differs between systems
}
