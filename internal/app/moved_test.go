package app

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/pgtest"
)

// a copy that was made on the same PostgreSQL before an upgrade, and is used again, is
// noticed like one from a dump. Marking it may end at any moment: before all is done that
// it is there for, no server starts.
func TestR21ACopyServesOnceItIsMarkedAndNoSooner(t *testing.T) {
	t.Parallel()
	cluster := pgtest.NewCluster(t)
	w := newWorld(t, func(c *config.Config) {
		c.DatabaseURL, c.MasterKey = cluster.CreateDatabase("agentidp"), base64.StdEncoding.EncodeToString(random(32))
	})
	w.clock.freeze()
	agent := w.agentWithPolicy(w.admin())
	issued := w.granted(exchangeBody(w.subject(nil), agent)).str("access_token")
	w.stop()
	cluster.Exec("CREATE DATABASE copied TEMPLATE agentidp")
	cfg := w.app.cfg
	cfg.DatabaseURL = cluster.URL("copied")
	refused := func(when string) {
		t.Helper()
		if err := w.failingStart(cfg); err == nil || !strings.Contains(err.Error(), "run: agentidp restore --mark") {
			t.Errorf("%s: %v", when, err)
		}
	}
	refused("a copy")

	ended := errors.New("ended")
	for after := 1; ; after++ { // looks at the clock
		err := Beside(t.Context(), cfg, quiet, func(a *App) error {
			ctx, end := context.WithCancelCause(t.Context())
			defer end(nil)
			left := after
			clock := func() time.Time {
				if left--; left == 0 {
					end(ended)
				}
				return w.clock.Now()
			}
			a.clock = clock
			if err := a.unlock(ctx, false); err != nil { // all that rests on the clock, anew
				return err
			}
			_, err := a.MarkRestored(ctx)
			return err
		})
		if err == nil {
			if after < 3 {
				t.Errorf("it was ended %d times", after-1)
			}
			break
		}
		refused("a mark that was ended")
	}
	w.restart(func(c *config.Config) { c.DatabaseURL = cfg.DatabaseURL })
	w.inactive("a token of before", w.introspect("", issued))
}
