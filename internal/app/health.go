package app

import (
	"context"
	"net/http"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/problem"
	"github.com/sentryagent/agentidp/internal/registry"
)

const (
	healthPath = "/healthz"
	readyPath  = "/readyz"

	// readyTime is how long storage may take to answer where a node is to get requests. It
	// is asked over the connection that issues: what waits for that for longer would wait
	// so in an exchange.
	readyTime = 2 * time.Second
)

func (a *App) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"status":"ok"}` + "\n")) // the client left: nobody to tell
}

// readyz answers 200 when an exchange could be decided, signed and recorded: the
// database answers and the default organization's key is at hand. Once the end was
// asked for it answers 503, so that nothing new is sent here.
func (a *App) readyz(w http.ResponseWriter, r *http.Request) {
	if a.ending.Load() {
		problem.Write(w, r, agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable, "The server is about to end; it serves what still comes."))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), readyTime)
	defer cancel()
	if err := a.ready(ctx, registry.OrganizationFrom(r.Context())); err != nil {
		e := agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable, "The server cannot reach its storage or its keys; its log says why.")
		problem.Write(w, r, e.WithCause(err))
		return
	}
	a.healthz(w, r)
}

// ready returns what an exchange would lack, if anything.
func (a *App) ready(ctx context.Context, org *agentidp.Organization) error {
	if err := a.db.Ping(ctx); err != nil {
		return err
	}
	_, err := a.ring.Signer(ctx, org)
	return err
}
