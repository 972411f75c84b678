package keys

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// Reseal gives a database another master key: what the old one sealed, the new one
// seals from the commit on, and the old one opens nothing of it any more. Signing keys
// stay as they are. Servers that run have the old one in memory, so none may.
func Reseal(ctx context.Context, db *store.DB, from *MasterKey, to MasterKeySource) error {
	next, err := to.read()
	if err != nil {
		return err
	}
	return everyOrganization(ctx, db, next, func(tx *store.Tx, org *agentidp.Organization, rows []store.SigningKey) error {
		for i := range rows {
			k := &rows[i]
			if len(k.SealedPrivateKey) == 0 { // it was given up
				continue
			}
			der, err := from.open(k.SealedPrivateKey, label(org.ID, k.KeyID))
			if err != nil {
				return fmt.Errorf("signing key %s does not open under the old master key, so nothing was changed; give it up first: agentidp keys rotate --org %s --compromised=%s", k.KeyID, org.Slug, k.KeyID)
			}
			k.SealedPrivateKey = next.seal(der, label(org.ID, k.KeyID))
			if err := tx.UpdateSigningKey(ctx, k); err != nil {
				return err
			}
		}
		return nil
	})
}

// Abandon gives up every signing key of a database whose master key is lost, and makes
// each open organization a new one under the key at hand, which is the master key from
// then on. No token that was ever issued is accepted any more. It refuses where the key
// at hand opens the database, because nothing is lost then.
func Abandon(ctx context.Context, db *store.DB, src MasterKeySource, alg string, clock func() time.Time) error {
	check, err := db.Setting(ctx, checkSetting)
	if errors.Is(err, store.ErrNotFound) {
		return errors.New("no server was started on this database, so it has no keys to abandon")
	}
	if err != nil {
		return err
	}
	master, err := src.read()
	if errors.Is(err, fs.ErrNotExist) {
		if !src.MayCreate {
			return errors.New("master key: give the new one in AGENTIDP_MASTER_KEY or AGENTIDP_MASTER_KEY_FILE, to every node the same (openssl rand -base64 32)")
		}
		master, err = createMasterKey(src.File)
	}
	if err != nil {
		return err
	}
	if raw, err := base64.StdEncoding.DecodeString(check); err == nil {
		if _, err := master.open(raw, checkSetting); err == nil {
			return fmt.Errorf("the key from %s is the one that sealed this database, so nothing is lost and nothing was changed; to give up single keys use keys rotate --compromised, for another master key keys reseal", src.name())
		}
	}
	made, err := prepareAll(ctx, db, NewRing(db, master, alg, clock))
	if err != nil {
		return err
	}
	return everyOrganization(ctx, db, master, func(tx *store.Tx, org *agentidp.Organization, rows []store.SigningKey) error {
		c := &change{tx: tx, org: org, rows: rows, alg: alg, now: clock(), actor: agentidp.ActorOperator}
		for i := range rows {
			if !rows[i].CompromisedAt.IsZero() {
				continue
			}
			if err := c.giveUp(ctx, &rows[i]); err != nil {
				return err
			}
		}
		if org.Status != agentidp.OrganizationActive {
			return nil
		}
		key := made[org.ID]
		if key == nil {
			return fmt.Errorf("the organization %s was made at this moment: run this again, without a server", org.Slug)
		}
		return c.add(ctx, key, time.Time{})
	})
}

// prepareAll makes a key for every open organization, before the transaction.
func prepareAll(ctx context.Context, db *store.DB, ring *Ring) (map[string]*NewKey, error) {
	orgs, err := db.Organizations(ctx)
	if err != nil {
		return nil, err
	}
	made := map[string]*NewKey{}
	for i := range orgs {
		if orgs[i].Status != agentidp.OrganizationActive {
			continue
		}
		if made[orgs[i].ID], err = ring.Prepare(orgs[i].ID); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// everyOrganization changes the keys of all organizations and the master key's check
// value in one transaction: the database is sealed by one key or by the other, whole.
func everyOrganization(ctx context.Context, db *store.DB, next *MasterKey, do func(*store.Tx, *agentidp.Organization, []store.SigningKey) error) error {
	return db.Write(ctx, func(tx *store.Tx) error {
		orgs, err := tx.Organizations(ctx)
		if err != nil {
			return err
		}
		for i := range orgs {
			org, err := tx.LockOrganization(ctx, orgs[i].ID)
			if err != nil {
				return err
			}
			rows, err := tx.SigningKeys(ctx, org.ID)
			if err != nil {
				return err
			}
			if err := do(tx, org, rows); err != nil {
				return err
			}
			org.Revision++
			if err := tx.UpdateOrganization(ctx, org); err != nil {
				return err
			}
		}
		return tx.SetSetting(ctx, checkSetting, base64.StdEncoding.EncodeToString(next.seal([]byte(checkText), checkSetting)))
	})
}
