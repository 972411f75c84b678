package store

import (
	"cmp"
	"iter"
	"maps"
	"slices"
)

type rowID struct{ orgID, id string }

func (k rowID) compare(other rowID) int {
	return cmp.Or(cmp.Compare(k.orgID, other.orgID), cmp.Compare(k.id, other.id))
}

// compareRows locks the rows that the members' decisions were based on, table by table,
// and refuses the members to whom one has changed.
func (b *batch) compareRows() error {
	var stored [len(versionedTables)]map[rowID]int64
	for kind := range versionedTables {
		stored[kind] = b.revisions(kind, true, func(seenRow) bool { return true })
	}
	if err := b.flush(); err != nil {
		return err
	}
	for kind := range versionedTables {
		if err := b.compareTable(kind, stored[kind]); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) compareTable(kind int, stored map[rowID]int64) error {
	var missing map[rowID]bool
	for m := range b.live() {
		seen := m.seen[kind]
		if seen.id == "" {
			continue
		}
		revision, ok := stored[rowID{seen.orgID, seen.id}]
		if ok && revision == seen.revision {
			continue
		}
		m.err = ErrStale
		if !ok && b.db.rowLocks {
			if missing == nil {
				missing = make(map[rowID]bool)
			}
			missing[rowID{seen.orgID, seen.id}] = true
		}
	}
	if missing == nil {
		return nil
	}
	return b.excuseHeld(kind, missing)
}

// excuseHeld looks again, without a lock, at rows that were missing: those that
// are as seen are only held by somebody who may change them.
func (b *batch) excuseHeld(kind int, missing map[rowID]bool) error {
	stored := b.revisions(kind, false, func(seen seenRow) bool { return missing[rowID{seen.orgID, seen.id}] })
	if err := b.flush(); err != nil {
		return err
	}
	for _, m := range b.members {
		seen := m.seen[kind]
		if revision, ok := stored[rowID{seen.orgID, seen.id}]; ok && m.err == ErrStale && revision == seen.revision { //nolint:errorlint // set by us
			m.err = errHeld
		}
	}
	return nil
}

// revisions reads the rows of one table that the chosen members have seen. They are there
// after the next flush.
func (b *batch) revisions(kind int, lock bool, choose func(seenRow) bool) map[rowID]int64 {
	table := &versionedTables[kind]
	wanted := make(map[rowID]bool, 8)
	for _, m := range b.members {
		if seen := m.seen[kind]; seen.id != "" && choose(seen) {
			wanted[rowID{seen.orgID, seen.id}] = true
		}
	}
	stored := make(map[rowID]int64, len(wanted))
	if len(wanted) == 0 {
		return stored
	}
	keys := slices.SortedFunc(maps.Keys(wanted), rowID.compare)
	size := keySize(len(keys))
	args := make([]any, 0, 2*keyCounts[size]+1)
	for i := range keyCounts[size] {
		key := keys[min(i, len(keys)-1)]
		if len(table.keyColumns) == 2 {
			args = append(args, key.orgID)
		}
		args = append(args, key.id)
	}
	text := b.checks.plain[kind][size]
	if lock {
		text = b.checks.locked[kind][size]
		if b.db.rowLocks {
			args = append(args, micros(b.db.clock()))
		}
	}
	b.enqueue(text, args, func(r row) error {
		var key rowID
		var revision int64
		err := r.Scan(&key.orgID, &key.id, &revision)
		stored[key] = revision
		return err
	})
	return stored
}

// lookAtPins reads the pins of the members' repositories. They are there after the next
// flush; then comparePins compares them.
func (b *batch) lookAtPins() map[pinKey][2]string { return b.storedPins(b.checks.pins, b.live()) }

// comparePins refuses the members whose repository is pinned to other ids than
// their token's, or no longer pinned. A repository that nobody has pinned will
// be pinned by this batch, to one identity.
func (b *batch) comparePins(stored map[pinKey][2]string) error {
	created := make(map[pinKey][2]string)
	lost := false
	for m := range b.live() {
		ids, ok := stored[m.pin.pinKey]
		switch {
		case m.pin.repository == "" || ok && ids == m.pin.ids:
		case ok:
			m.err = ErrStale
		case m.pin.seen:
			m.err, lost = ErrStale, true
		default:
			if first, ok := created[m.pin.pinKey]; ok && first != m.pin.ids {
				m.err = ErrStale
				continue
			}
			created[m.pin.pinKey], m.pins = m.pin.ids, true
		}
	}
	if !lost || !b.db.rowLocks {
		return nil
	}
	stored = b.storedPins(b.checks.plainPins, slices.Values(b.members))
	err := b.flush()
	for _, m := range b.members {
		if ids, ok := stored[m.pin.pinKey]; ok && ids == m.pin.ids && m.err == ErrStale && m.pin.seen { //nolint:errorlint // set by us
			m.err = errHeld // locked by somebody who may change it
		}
	}
	return err
}

// storedPins reads the pins of the members' repositories. With a lock, it is for
// members that share their policy: whoever holds all policies of a repository must
// not have to wait for its pin. They are there after the next flush.
func (b *batch) storedPins(texts [len(keyCounts)]string, members iter.Seq[*member]) map[pinKey][2]string {
	wanted := make(map[pinKey]bool, 8)
	for m := range members {
		if m.pin.repository != "" {
			wanted[m.pin.pinKey] = true
		}
	}
	stored := make(map[pinKey][2]string, len(wanted))
	if len(wanted) == 0 {
		return stored
	}
	keys := slices.SortedFunc(maps.Keys(wanted), pinKey.compare)
	size := keySize(len(keys))
	args := make([]any, 0, 3*keyCounts[size])
	for i := range keyCounts[size] {
		key := keys[min(i, len(keys)-1)]
		args = append(args, key.orgID, key.provider, key.repository)
	}
	b.enqueue(texts[size], args, func(r row) error {
		var key pinKey
		var ids [2]string
		err := r.Scan(&key.orgID, &key.provider, &key.repository, &ids[0], &ids[1])
		stored[key] = ids
		return err
	})
	return stored
}

func (k pinKey) compare(other pinKey) int {
	return cmp.Or(cmp.Compare(k.orgID, other.orgID), cmp.Compare(k.provider, other.provider), cmp.Compare(k.repository, other.repository))
}

// keySize returns the index of the smallest statement that takes n keys.
func keySize(n int) int {
	return slices.IndexFunc(keyCounts[:], func(count int) bool { return count >= n })
}
