package store

import (
	"fmt"
	"sync"
)

// errBroken is what is answered once the disk has failed to confirm a write.
var errBroken = fmt.Errorf("the disk did not confirm a write (fsync failed), so nobody knows what the database file holds: %w", ErrUnavailable)

// broken remembers that an fsync has failed. The operating system may have given up what
// was to be written, and confirm the next attempt all the same: it tells of a failure
// once. So nothing is written to the file any more, neither again nor anything else, and
// the program has to end; the next one reads what has reached the disk, by the checksums
// of the log.
type broken struct {
	once  sync.Once
	since chan struct{} // closed
}

// Broken is closed once the disk has failed to confirm a write. From then on nothing is
// written, and all that would be is ErrUnavailable.
func (db *DB) Broken() <-chan struct{} { return db.broken.since }

// look looks at an error of the engine, and hands it on.
func (b *broken) look(d *dialect, err error) error {
	if err != nil && d.unconfirmed(err) {
		b.once.Do(func() { close(b.since) })
	}
	return err
}

// err returns nil as long as the file may be written to.
func (b *broken) err() error {
	select {
	case <-b.since:
		return errBroken
	default:
		return nil
	}
}
