package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/keys"
	"github.com/sentryagent/agentidp/internal/providers"
	"github.com/sentryagent/agentidp/internal/registry"
	"github.com/sentryagent/agentidp/internal/store"
	"github.com/sentryagent/agentidp/internal/token"
	"github.com/sentryagent/agentidp/internal/verify"
)

// stored returns a clock with the precision of the database, so that what was
// just made and what is read back are equal. A nil clock is the system's.
func stored(clock func() time.Time) func() time.Time {
	if clock == nil {
		clock = time.Now
	}
	return func() time.Time { return clock().UTC().Truncate(time.Microsecond) }
}

// notLost refuses to make a new database where one was used before and is gone, or was
// emptied: to everybody outside, that would be another AgentIdP under the same name.
func (a *App) notLost() error {
	path, embedded := a.cfg.SQLitePath()
	if !embedded {
		return nil
	}
	used, _, err := remembered(a.cfg.DataDir)
	if err != nil || used != a.place(path) {
		return err
	}
	info, err := os.Stat(path)
	if err == nil && info.Size() > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fmt.Errorf("a server ran here before, and its database %s is missing or empty; put it back, or restore a backup: agentidp restore --force FILE (to begin anew, without policies and agents and with new keys, remove %s)",
		path, filepath.Join(a.cfg.DataDir, lockFile))
}

// damaged says what to do about a database that cannot be read.
func damaged(err error) error {
	damage := store.Damage(err)
	if damage == nil {
		return err
	}
	return fmt.Errorf("the database is damaged; keep its files as they are, and restore the latest backup (agentidp restore --force FILE): %w", damage)
}

// open brings up the database and all that rests on it alone.
func (a *App) open(ctx context.Context) error {
	var err error
	if a.db, err = store.Open(ctx, a.cfg.DatabaseURL, store.Options{Clock: a.clock, Logger: a.logger, Committed: a.metrics.Committed}); err != nil {
		return err
	}
	if err := a.sound(ctx); err != nil {
		return err
	}
	if err := a.db.Migrate(ctx); err != nil {
		return err
	}
	a.warnOfServer(ctx)
	if err := a.unlock(ctx, a.cfg.SQLite()); err != nil {
		return err
	}
	if err := a.notOlder(ctx); err != nil {
		return err
	}
	if err := a.registry.EnsureDefaultOrganization(ctx); err != nil {
		return fmt.Errorf("create the default organization: %w", err)
	}
	org, err := a.registry.ReadOrganization(ctx, agentidp.DefaultOrganization)
	if err != nil {
		return err
	}
	if _, err := a.ring.Signer(ctx, org); err != nil { // proves the key that signs before anything asks for it
		return err
	}
	if err := a.mark(ctx); err != nil {
		return err
	}
	return a.announce(ctx)
}

// warnOfServer says what is not safe about the way to PostgreSQL, or about how it keeps
// what it confirmed. Whether that can be, here, its operator knows.
func (a *App) warnOfServer(ctx context.Context) {
	server, err := a.db.Server(ctx)
	if err != nil {
		return // there is none, or what needs it tells
	}
	for _, concern := range server.Concerns() {
		a.logger.WarnContext(ctx, concern.What, "remedy", concern.Remedy)
	}
}

// unlock proves the master key and makes ready what signs and what is kept. create
// allows a new master key for a database that was never sealed.
func (a *App) unlock(ctx context.Context, create bool) error {
	kinds, err := providers.Kinds()
	if err != nil {
		return err
	}
	_, missing := os.Stat(a.cfg.MasterKeyFile)
	master, err := keys.Unlock(ctx, a.db, masterKeySource(&a.cfg, create))
	if err != nil {
		return err
	}
	if missing != nil && a.cfg.MasterKey == "" {
		a.logger.Warn("a new master key was made; without it the signing keys are lost, so keep a copy apart from the database", "file", a.cfg.MasterKeyFile)
	}
	a.ring = keys.NewRing(a.db, master, a.cfg.SigningAlg, a.clock)
	a.tokens = token.New(a.db, a.ring, a.clock, a.cfg.TokenRequestsPerMinute)
	a.registry = registry.New(registry.Config{
		DB: a.db, Ring: a.ring, Kinds: kinds, Providers: []*agentidp.Provider{providers.GitHub(kinds["github"], a.cfg.GitHubIssuer)},
		PublicURL: a.cfg.PublicURL, KeepClaims: a.cfg.KeepClaims, RecordClaims: a.recorded, Clock: a.clock,
	})
	return nil
}

func (a *App) loadKeySet(ctx context.Context, source string) (*verify.KeySet, error) {
	k, err := a.db.KeySet(ctx, source)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &verify.KeySet{Source: source, JWKS: k.JWKS, FetchedAt: k.FetchedAt, AskedAt: k.AskedAt, FailedAt: k.FailedAt}, nil
}

func (a *App) saveKeySet(ctx context.Context, set *verify.KeySet) error {
	return a.db.Write(ctx, func(tx *store.Tx) error {
		if set.JWKS == nil {
			return tx.KeySetFailed(ctx, set.Source, set.FailedAt)
		}
		return tx.SaveKeySet(ctx, set.Source, set.JWKS, set.FetchedAt)
	})
}

func (a *App) beginKeySet(ctx context.Context, source string, now time.Time, within, ahead time.Duration) (ours bool, err error) {
	err = a.db.Write(ctx, func(tx *store.Tx) (err error) {
		ours, err = tx.AskKeySet(ctx, source, now, now.Add(-within), now.Add(ahead))
		return err
	})
	return ours, err
}
