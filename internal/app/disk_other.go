//go:build !linux && !darwin && !freebsd

package app

// freeSpace does not know.
func freeSpace(string) (bytes uint64, known bool) { return 0, false }
