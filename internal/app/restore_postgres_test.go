package app

import (
	"crypto/rand"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/verify"
)

// an installation moves from SQLite to PostgreSQL by a backup: what it had is there,
// with the same keys, and nothing of before is taken twice.
func TestR21AnInstallationMovesToPostgreSQL(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.agentWithPolicy(admin)
	used := w.subject(nil)
	issued := w.granted(exchangeBody(used, agent)).str("access_token")
	keys := string(w.want(w.do("GET", "/.well-known/jwks.json", "", nil), 200).Raw)
	file := w.backup()

	cfg := w.app.cfg
	cfg.DatabaseURL = pgtest.Start(t)
	other := cfg
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	other.MasterKey = base64.StdEncoding.EncodeToString(key)
	for _, refused := range []struct {
		name, file string
		cfg        config.Config
		force      bool
		says       string
	}{
		{"a server runs", file, cfg, false, "a server uses"},
		{"another master key", file, other, false, "nothing was changed"},
		{"a database is to be replaced", file, cfg, true, "never replaced; give an empty one"},
		{"it is no backup", filepath.Join(cfg.DataDir, "master.key"), cfg, false, "Nothing was changed"},
	} {
		if refused.name != "a server runs" {
			w.stop()
		}
		if _, err := Restore(t.Context(), refused.cfg, quiet, refused.file, refused.force); err == nil || !strings.Contains(err.Error(), refused.says) {
			t.Errorf("%s: %v", refused.name, err)
		}
	}
	out, err := Restore(t.Context(), cfg, quiet, file, false)
	if err != nil || out.Policies != 1 || len(out.Organizations) != 1 || out.Organizations[0].Ended != 2 {
		t.Fatalf("%+v %v", out, err)
	}
	if _, err := Restore(t.Context(), cfg, quiet, file, false); err == nil || !strings.Contains(err.Error(), "holds an installation already, and nothing was changed") {
		t.Errorf("a second time: %v", err)
	}
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "agentidp.restoring")); err == nil {
		t.Error("a copy is left")
	}

	w.restart(func(c *config.Config) { c.DatabaseURL = cfg.DatabaseURL })
	if now := string(w.want(w.do("GET", "/.well-known/jwks.json", "", nil), 200).Raw); now != keys {
		t.Errorf("the key set is another:\n%s\n%s", keys, now)
	}
	w.inactive("a token of before", w.introspect("", issued))
	w.clock.advance(time.Until(out.At) + verify.Skew + 5*time.Second)
	w.want(w.exchange(exchangeBody(used, agent)), 401, agentidp.CodeInvalidToken, agentidp.ReasonTokenTooOld)
	w.granted(exchangeBody(w.subject(nil), agent))
}
