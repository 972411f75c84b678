package app

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/store"
)

// finding returns what doctor says of one thing, on one line.
func finding(t *testing.T, findings []Finding, check string) string {
	t.Helper()
	i := slices.IndexFunc(findings, func(f Finding) bool { return f.Check == check })
	if i < 0 {
		t.Fatalf("nothing is said of %s: %+v", check, findings)
	}
	return string(findings[i].Status) + " " + findings[i].Detail + "; " + findings[i].Remedy
}

func TestDoctorSeesClocksAndAges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.app.cfg
	cfg.KeyRotation, cfg.KeepDecisions = 30*day, 90*day
	look := func(off time.Duration) []Finding {
		return Doctor(t.Context(), DoctorOptions{Config: cfg, Logger: quiet, Clock: func() time.Time { return time.Now().Add(off) }})
	}
	for _, test := range []struct {
		off  time.Duration
		want string
	}{
		{0, "ok it agrees with 3 others"}, // metadata, keys, and the issuer's keys
		{10 * time.Second, "ok it agrees"},
		{45 * time.Second, "warn it is off by "},
		{-45 * time.Second, "warn it is off by -"},
		{2 * time.Minute, "FAIL it is off by "},
		{-time.Hour, "FAIL it is off by -"},
	} {
		if got := finding(t, look(test.off), "clock"); !strings.HasPrefix(got, test.want) {
			t.Errorf("off by %s: %s, want %s", test.off, got, test.want)
		}
	}
	set := func(name, value string) {
		t.Helper()
		if err := w.app.db.Write(t.Context(), func(tx *store.Tx) error { return tx.SetSetting(t.Context(), name, value) }); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	set(backupSetting, now.Add(-9*day).Format(time.RFC3339))
	set(keyRotationSetting, (30 * day).String())
	for _, test := range []struct {
		name, check, want string
		off               time.Duration
		look              string
	}{
		{"an old backup", "backup", "warn the latest is of ", 0, ""},
		{"a key that is new", "signing keys", "ok 1 open organization; each has one that signs", 29 * day, ""},
		{"a rotation that was due", "signing keys", "warn default: a successor was due at ", 32 * day, ""},
		{"retention that works", "retention", "ok decisions are kept 90d, events for ever, claims of tokens 30d", 0, lookText(now, now.Add(-time.Hour))},
		{"retention that waits", "retention", "warn nothing old is removed until", 0, lookText(now, now.Add(time.Hour))},
		{"retention that nobody does", "retention", "warn it was last looked at ", 0, lookText(now.Add(-2*time.Hour), now.Add(-2*day))},
	} {
		if test.look != "" {
			set(lookSetting, test.look)
		}
		if got := finding(t, look(test.off), test.check); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// On PostgreSQL, too, it asks what it can.
func TestDoctorOnPostgreSQL(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onPostgres(t))
	findings := Doctor(t.Context(), DoctorOptions{Config: w.app.cfg, Logger: quiet, Offline: true})
	for check, want := range map[string]string{
		"database": "ok postgres, schema version ", "master key": "ok ", "signing keys": "ok ", "backup": "ok PostgreSQL's own",
	} {
		if got := finding(t, findings, check); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", check, got, want)
		}
	}
}

func lookText(last, heldUntil time.Time) string { return look{last, heldUntil}.String() }
