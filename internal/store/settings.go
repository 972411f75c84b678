package store

import "context"

// Setting returns a value that belongs to the whole installation; ErrNotFound
// if it was never put.
func (r reads) Setting(ctx context.Context, name string) (string, error) {
	value, err := one(ctx, r, "read setting", scanValue[string], "SELECT value FROM settings WHERE name = $1", name)
	if err != nil {
		return "", err
	}
	return *value, nil
}

// Place is where the database is, in the engine's own words: others for one that was
// brought back from a dump or copied, the same for a standby that was promoted and for a
// disk that was put back. Of SQLite it is "": a file is where its path says.
func (db *DB) Place(ctx context.Context) (string, error) {
	var place *string
	var err error
	for _, query := range db.place {
		if query == "" {
			return "", nil
		}
		if place, err = one(ctx, db.unprepared(), "ask where the database is", scanValue[string], query); err == nil {
			return *place, nil
		}
		if db.gone(err) || ctx.Err() != nil {
			break
		}
	}
	return "", err
}

// PutSetting stores a value once and for all; ErrExists if there is one, which
// stays. So of two programs that start at the same time one decides.
func (t *Tx) PutSetting(ctx context.Context, name, value string) error {
	return t.insert(ctx, "put setting", "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT DO NOTHING", name, value)
}

// SetSetting stores a value, in place of what was there.
func (t *Tx) SetSetting(ctx context.Context, name, value string) error {
	_, err := t.exec(ctx, "set setting", `
		INSERT INTO settings (name, value) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return err
}
