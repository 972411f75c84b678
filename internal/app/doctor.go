package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
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

// counted says how many there are of what has a regular plural.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
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
	if path, embedded := d.Config.SQLitePath(); embedded {
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
	if path, embedded := d.Config.SQLitePath(); embedded {
		if err := d.app.notLost(); err != nil {
			d.say(FindingFail, check, "", "%v", err)
			return false
		}
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
		d.notOpened(err)
		return false
	}
	if err := d.app.notEmptied(ctx); err != nil {
		d.notOpened(err)
		return false
	}
	have, want, err := d.app.db.SchemaVersion(ctx)
	switch {
	case err != nil:
		d.notOpened(err)
		return false
	case have > want:
		if err := d.app.db.Understood(ctx); err != nil {
			d.say(FindingFail, check, "use the agentidp that the server runs", "%v", err)
			return false
		}
	case have < want:
		d.say(FindingFail, check, "run: agentidp migrate (or start the server, which does it)", "the schema has version %d and this program needs %d", have, want)
		return false
	}
	err = d.app.db.QuickCheck(ctx)
	if err != nil && !errors.Is(err, store.ErrNoCopies) {
		d.say(FindingFail, check, "stop the server, keep the files as they are, and restore the latest backup: agentidp restore --force FILE", "%v", err)
		return false
	}
	if err := d.app.notOlder(ctx); err != nil {
		d.say(FindingFail, check, "", "%v", err)
		return true
	}
	newer := ""
	if have > want {
		newer = fmt.Sprintf(", of a newer agentidp; this program, which knows %d, can work with it", want)
	}
	d.say(FindingOK, check, "", "%s, schema version %d%s", d.Config.Kind(), have, newer)
	d.server(ctx)
	return true
}

// server looks at the PostgreSQL that holds the database, and the way to it.
func (d *doctor) server(ctx context.Context) {
	const check = "PostgreSQL"
	s, err := d.app.db.Server(ctx)
	switch {
	case errors.Is(err, store.ErrNoServer):
		return
	case err != nil:
		d.say(FindingFail, check, "", "%v", err)
		return
	}
	d.say(FindingOK, check, "", "%s", s)
	for _, concern := range s.Concerns() {
		d.say(FindingWarn, check, concern.Remedy, "%s", concern.What)
	}
}

// notOpened says what the start of a server says of a database that is damaged or not
// the one that was there.
func (d *doctor) notOpened(err error) {
	d.say(FindingFail, "database", "", "%v", damaged(err))
}
