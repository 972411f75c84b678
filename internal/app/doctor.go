package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/keys"
	"github.com/sentryagent/agentidp/internal/store"
)

// Finding is what doctor says of one thing.
type Finding struct {
	Check  string        `json:"check"`
	Status FindingStatus `json:"status"`
	Detail string        `json:"detail"`
	Remedy string        `json:"remedy,omitempty"`
}

// FindingStatus says whether something has to be done.
type FindingStatus string

// The findings: all is well; somebody should look; it does not work, or is not safe.
const (
	FindingOK   FindingStatus = "ok"
	FindingWarn FindingStatus = "warn"
	FindingFail FindingStatus = "FAIL"
)

// DoctorOptions says what is looked at.
type DoctorOptions struct {
	Config  config.Config // complete, but for a public URL that may be empty
	Offline bool          // ask nobody over the network
	Logger  *slog.Logger
	Clock   func() time.Time  // nil: the system's
	HTTP    http.RoundTripper // nil: the default
}

// doctor looks at an installation. It changes nothing.
type doctor struct {
	DoctorOptions
	app      *App
	clock    func() time.Time
	findings []Finding
	orgs     []agentidp.Organization
	signers  map[string]string // kid by slug
	skew     time.Duration     // the greatest that was seen
	asked    int               // clocks that were seen
}

// Doctor looks at an installation, beside the server while it runs or without one, and
// says of each thing whether it is well, and if not, what to do.
func Doctor(ctx context.Context, opt DoctorOptions) []Finding {
	d := &doctor{DoctorOptions: opt, clock: stored(opt.Clock), signers: map[string]string{}}
	d.app = &App{cfg: opt.Config, logger: opt.Logger, clock: d.clock}
	defer func() { _ = d.app.close() }() // nothing was written
	d.folder()
	if d.database(ctx) && d.masterKey(ctx) {
		d.keys(ctx)
		d.retention(ctx)
		d.backups(ctx)
	}
	if !d.Offline {
		d.network(ctx)
	}
	return d.findings
}

func (d *doctor) say(status FindingStatus, check, remedy, format string, args ...any) {
	d.findings = append(d.findings, Finding{check, status, fmt.Sprintf(format, args...), remedy})
}

// folder looks at who may do what with the data directory, and at how full it is.
func (d *doctor) folder() {
	const check = "data directory"
	dir := d.Config.DataDir
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		d.say(FindingFail, check, "start the server once, or give its --data-dir", "%v", err)
		return
	case info.Mode().Perm()&0o022 != 0:
		d.say(FindingFail, check, "chmod go-w "+dir, "%s can be written by others (mode %04o), who could put a database of their own there", dir, info.Mode().Perm())
	default:
		d.say(FindingOK, check, "", "%s", dir)
	}
	if path, embedded := strings.CutPrefix(d.Config.DatabaseURL, "sqlite:"); embedded {
		d.disk(filepath.Dir(path))
	}
}

const (
	diskLow  = 1 << 30
	diskFull = 100 << 20
)

func (d *doctor) disk(dir string) {
	free, known := freeSpace(dir)
	if !known {
		return
	}
	status, remedy := FindingOK, ""
	switch {
	case free < diskFull:
		status, remedy = FindingFail, "make room, or shorten AGENTIDP_KEEP_EVENTS: without room every exchange is answered 503"
	case free < diskLow:
		status, remedy = FindingWarn, "make room, or shorten AGENTIDP_KEEP_EVENTS"
	}
	d.say(status, "disk", remedy, "%d MiB are free in %s", free>>20, dir)
}

// database opens it, and says whether there is more to look at.
func (d *doctor) database(ctx context.Context) bool {
	const check = "database"
	if path, embedded := strings.CutPrefix(d.Config.DatabaseURL, "sqlite:"); embedded {
		info, err := os.Stat(path)
		if err != nil {
			d.say(FindingFail, check, "start the server once, or give its --data-dir", "%v", err)
			return false
		}
		if info.Mode().Perm()&0o077 != 0 {
			d.say(FindingFail, check, "chmod 600 "+path, "%s can be read by others (mode %04o)", path, info.Mode().Perm())
		}
	}
	var err error
	if d.app.db, err = store.Open(ctx, d.Config.DatabaseURL, store.Options{Clock: d.clock, Logger: d.Logger}); err != nil {
		d.say(FindingFail, check, "look whether it runs and lets this user in; a damaged file is replaced with: agentidp restore", "%v", err)
		return false
	}
	have, want, err := d.app.db.SchemaVersion(ctx)
	switch {
	case err != nil:
		d.say(FindingFail, check, "a damaged file is replaced with: agentidp restore", "%v", err)
		return false
	case have > want:
		d.say(FindingFail, check, "use the agentidp that the server runs", "the schema has version %d and this program knows %d", have, want)
		return false
	case have < want:
		d.say(FindingFail, check, "run: agentidp migrate (or start the server, which does it)", "the schema has version %d and this program needs %d", have, want)
		return false
	}
	err = d.app.db.QuickCheck(ctx)
	if err != nil && !errors.Is(err, store.ErrNoCopies) {
		d.say(FindingFail, check, "stop the server, keep the files as they are, and restore the latest backup: agentidp restore --force FILE", "%v", err)
		return false
	}
	d.say(FindingOK, check, "", "%s, schema version %d", d.Config.Kind(), have)
	return true
}

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
		d.say(FindingFail, check, "docs/lost-master-key.md says what to do if there is no right one", "%v", err)
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
		d.say(FindingOK, check, "", "of %d organizations, all open; each has one that signs", len(d.orgs))
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
		d.say(FindingWarn, check, "nothing, if the clock is right", "nothing old is removed until the server has run for a day by a clock that does not jump")
	case now.Sub(l.last) > maxStep:
		d.say(FindingWarn, check, "start the server; if it runs, look into its log", "it was last looked at %s", l.last.Format(time.RFC3339))
	default:
		d.say(FindingOK, check, "", "decisions are kept %s, events %s", kept(d.Config.KeepDecisions), kept(d.Config.KeepEvents))
	}
}

func kept(d time.Duration) string {
	if d == 0 {
		return "for ever"
	}
	return fmt.Sprintf("%gd", d.Hours()/24)
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
