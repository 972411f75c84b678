package verify_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/verify"
)

func TestStats(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	want := func(what string, want verify.Stats) {
		t.Helper()
		if got := w.verifier.Stats(); got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	want("at first", verify.Stats{})
	w.mustVerify(t, w.good(t))
	want("a set", verify.Stats{Fetches: 1, Sources: 1, Oldest: start})
	w.Advance(time.Minute)
	w.provider.JWKSURI += "?x=y"
	w.mustVerify(t, w.good(t))
	want("a younger one", verify.Stats{Fetches: 2, Sources: 2, Oldest: start})
	w.issuer.answers(http.StatusInternalServerError, "")
	w.provider.JWKSURI += "z"
	w.wantUnreachable(t, w.good(t))
	want("none", verify.Stats{Fetches: 3, Failures: 1, Sources: 3, Failing: 1, Oldest: start})
	w.issuer.publish(t, w.key)
	w.Advance(5 * time.Second)
	w.mustVerify(t, w.good(t))
	want("it is there again", verify.Stats{Fetches: 4, Failures: 1, Sources: 3, Oldest: start})
}

// The log says what has changed, once.
func TestTheLogTellsOfOutagesAndNewKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	var log bytes.Buffer // the handler writes a line at a time, under a lock
	w.config.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo}))
	w.restart(t)
	unknown := newKey(t, "k2", jose.ES256)
	token := unknown.token(t, claims(t, nil))
	again := func() {
		w.Advance(30 * time.Second)
		_, _ = w.verify(t, token)
	}
	again() // the first set is no change
	again()
	w.issuer.answers(500, "")
	again()
	again()
	w.issuer.answers(404, "")
	again()
	again()
	w.issuer.publish(t, w.key)
	again()
	w.issuer.publish(t, unknown, w.key)
	again()
	again()
	w.verifier.Close() // the last line is written
	var got []string
	for line := range bytes.Lines(log.Bytes()) {
		var entry struct {
			Level, Msg, Source string
			KIDs               []string
		}
		if err := json.Unmarshal(line, &entry); err != nil || entry.Source != w.provider.JWKSURI {
			t.Fatalf("%s: %v", line, err)
		}
		if entry.KIDs != nil && !slices.Equal(entry.KIDs, []string{"k1", "k2"}) {
			t.Errorf("kids %q", entry.KIDs)
		}
		got = append(got, entry.Level+" "+entry.Msg)
	}
	if want := []string{
		"WARN keys of an issuer could not be renewed", // 500
		"WARN keys of an issuer could not be renewed", // 404
		"INFO keys of an issuer are renewed again",
		"INFO an issuer has changed its keys",
	}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
