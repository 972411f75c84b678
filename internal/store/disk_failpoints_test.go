//go:build failpoints

package store_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/sentryagent/agentidp/internal/failpoint"
	"github.com/sentryagent/agentidp/internal/store"
)

// after a write that the disk did not confirm there is no other, whatever the disk says
// to the next: whoever holds the database is told to give it up.
func TestR05AfterAFailedFsyncNothingIsWritten(t *testing.T) {
	for name, write := range map[string]func(*fixture) error{
		"an exchange":               func(f *fixture) error { return f.Issue(t.Context(), f.grant()) },
		"an administrator's change": func(f *fixture) error { return f.Write(t.Context(), setX(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, "sqlite:"+filepath.Join(t.TempDir(), "agentidp.db"))
			failpoint.Set(failpoint.DiskSync, "fail:1")
			defer failpoint.Set(failpoint.DiskSync, "")
			if err := write(f); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%v, want ErrUnavailable", err)
			}
			select {
			case <-f.Broken():
			default:
				t.Error("nobody is told")
			}
			synced := failpoint.Passed(failpoint.DiskSync)
			for what, err := range map[string]error{
				"an exchange": f.Issue(t.Context(), f.grant()), "a change": f.Write(t.Context(), setX(t)), "ping": f.Ping(t.Context()),
			} {
				if !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("then, %s: %v, want ErrUnavailable", what, err)
				}
			}
			if _, err := f.Policy(t.Context(), f.org.ID, f.policy.ID); err != nil {
				t.Errorf("a read: %v", err)
			}
			if err := f.Close(); err != nil || failpoint.Passed(failpoint.DiskSync) != synced {
				t.Errorf("close: %v, %d times to the disk", err, failpoint.Passed(failpoint.DiskSync)-synced)
			}
		})
	}
}

// what cannot be read or written is unavailable, and no fault of ours: whoever asked
// is told to come again.
func TestR05WhatCannotBeReadIsUnavailable(t *testing.T) {
	f := newFixture(t, "sqlite:"+filepath.Join(t.TempDir(), "agentidp.db"))
	url := f.url
	if err := f.Close(); err != nil { // and with it what is remembered of the file
		t.Fatal(err)
	}
	again, err := store.Open(t.Context(), url, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	failpoint.Set(failpoint.DiskRead, "fail")
	defer failpoint.Set(failpoint.DiskRead, "")
	if _, err := again.Policy(t.Context(), f.org.ID, f.policy.ID); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a read: %v, want ErrUnavailable", err)
	}
}

func setX(t *testing.T) func(*store.Tx) error {
	return func(tx *store.Tx) error { return tx.PutSetting(t.Context(), "x", "y") }
}
