package app

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/keys"
	"github.com/sentryagent/agentidp/internal/store"
)

// masterKey proves the key, and says whether there is more to look at.
func (d *doctor) masterKey(ctx context.Context) bool {
	const check = "master key"
	sealed, err := keys.Sealed(ctx, d.app.db)
	if err == nil && !sealed {
		d.say(FindingWarn, check, "start the server once", "no server was started on this database yet")
		return false
	}
	given := d.Config.PublicURL
	if err == nil {
		d.app.cfg.PublicURL = ""
		err = d.app.openBeside(ctx)
	}
	if err != nil {
		d.say(FindingFail, check, "docs/lost-master-key.md says what to do if there is no right one", "%s", strings.TrimPrefix(err.Error(), check+": "))
		return false
	}
	d.say(FindingOK, check, "", "it is the one that sealed the database")
	if was := d.app.cfg.PublicURL; given != "" && given != was {
		d.say(FindingWarn, "configuration", "give doctor the settings of the server", "the public URL is %s here, and the server was last started with %s", given, was)
	} else {
		d.Config.PublicURL = was
	}
	if was := d.app.cfg.SigningAlg; was != d.Config.SigningAlg {
		d.say(FindingWarn, "configuration", "give doctor the settings of the server, or restart the server", "the signing algorithm is %s here, and the server was last started with %s", d.Config.SigningAlg, was)
	}
	return true
}

// keys looks at every open organization's keys.
func (d *doctor) keys(ctx context.Context) {
	const check = "signing keys"
	all, err := d.app.registry.Organizations(ctx)
	if err != nil {
		d.say(FindingFail, check, "", "%v", err)
		return
	}
	wrong := len(d.findings)
	for i := range all {
		org := &all[i]
		if org.Status != agentidp.OrganizationActive {
			continue
		}
		d.orgs = append(d.orgs, *org)
		if err := d.app.ring.Opens(ctx, org); err != nil {
			d.say(FindingFail, check, "restore the latest backup, or give the key up: agentidp keys rotate --compromised=KID", "%s: %v", org.Slug, err)
			continue
		}
		list, err := d.app.SigningKeys(ctx, org.Slug)
		if err != nil {
			d.say(FindingFail, check, "", "%s: %v", org.Slug, err)
			continue
		}
		d.keysOf(org.Slug, list)
	}
	if len(d.findings) == wrong {
		d.say(FindingOK, check, "", "%s; each has one that signs", counted(len(d.orgs), "open organization"))
	}
}

func (d *doctor) keysOf(slug string, list []agentidp.SigningKey) {
	const check = "signing keys"
	now := d.clock()
	for i := range list {
		k := &list[i]
		switch {
		case k.Status == agentidp.SigningKeyPending && k.SignsFrom.After(now.Add(time.Hour)):
			d.say(FindingWarn, check, "give it up: agentidp keys rotate --org "+slug+" --compromised="+k.ID,
				"%s: the successor is to sign only from %s: the clock was wrong when it was made", slug, k.SignsFrom.Format(time.RFC3339))
		case k.Status != agentidp.SigningKeySigning:
			continue
		case !k.RotatesAt.IsZero() && now.After(k.RotatesAt.Add(day)):
			d.say(FindingWarn, check, "look into the server's log, or rotate: agentidp keys rotate --org "+slug, "%s: a successor was due at %s", slug, k.RotatesAt.Format(time.RFC3339))
		case k.RotatesAt.IsZero() && k.SignsUntil.IsZero() && now.Sub(latest(k.CreatedAt, k.SignsFrom)) > 365*day:
			d.say(FindingWarn, check, "agentidp keys rotate --org "+slug+", or set AGENTIDP_KEY_ROTATION", "%s: %s has signed since %s", slug, k.ID, latest(k.CreatedAt, k.SignsFrom).Format(time.RFC3339))
		}
		if k.Status == agentidp.SigningKeySigning {
			d.signers[slug] = k.ID
		}
	}
	if d.signers[slug] == "" {
		d.say(FindingFail, check, "start the server, which makes one", "%s: no key signs", slug)
	}
}

const day = 24 * time.Hour

func (d *doctor) retention(ctx context.Context) {
	const check = "retention"
	l, err := readLook(ctx, d.app.db)
	now := d.clock()
	switch {
	case err != nil:
		d.say(FindingFail, check, "", "%v", err)
	case l.last.IsZero() || now.Before(l.heldUntil):
		d.say(FindingWarn, check, "if the clock is right, there is nothing to do", "nothing old is removed until the server has run for a day by a clock that does not jump")
	case now.Sub(l.last) > maxStep:
		d.say(FindingWarn, check, "start the server; if it runs, look into its log", "it was last looked at %s", l.last.Format(time.RFC3339))
	default:
		d.say(FindingOK, check, "", "decisions are kept %s, events %s, claims of tokens %s", kept(d.Config.KeepDecisions), kept(d.Config.KeepEvents), keptClaims(d.Config.KeepClaims))
	}
}

func kept(d time.Duration) string {
	if d == 0 {
		return "for ever"
	}
	return fmt.Sprintf("%gd", d.Hours()/24)
}

func keptClaims(d time.Duration) string {
	if d == 0 {
		return "not at all"
	}
	return kept(d)
}

// backupAge is how old a backup may be before somebody should be told.
const backupAge = 8 * day

func (d *doctor) backups(ctx context.Context) {
	const check, remedy = "backup", "agentidp backup FILE, every day"
	if !d.Config.SQLite() {
		d.say(FindingOK, check, "", "PostgreSQL's own; they cannot be seen from here")
		return
	}
	text, err := d.app.db.Setting(ctx, backupSetting)
	if errors.Is(err, store.ErrNotFound) {
		d.say(FindingWarn, check, remedy, "none was ever made with agentidp backup")
		return
	}
	made, parseErr := time.Parse(time.RFC3339, text)
	switch {
	case err != nil || parseErr != nil:
		d.say(FindingFail, check, remedy, "%v", errors.Join(err, parseErr))
	case d.clock().Sub(made) > backupAge:
		d.say(FindingWarn, check, remedy, "the latest is of %s", text)
	default:
		d.say(FindingOK, check, "", "the latest is of %s", text)
	}
}
