package app

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sentryagent/agentidp"
)

// hang keeps everybody from reading organizations on PostgreSQL until the returned
// function is called.
func (w *world) hang() (release func()) {
	w.t.Helper()
	ctx := context.WithoutCancel(w.t.Context())
	conn, err := pgx.Connect(ctx, w.app.cfg.DatabaseURL)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "BEGIN; LOCK TABLE organizations IN ACCESS EXCLUSIVE MODE"); err != nil {
		w.t.Fatal(err)
	}
	return func() {
		if err := conn.Close(ctx); err != nil {
			w.t.Error(err)
		}
	}
}

// storage that hangs is worse than storage that is gone. The process says that
// it lives without asking it, and relying parties get their keys.
func TestHealthAndKeysWhileStorageHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onPostgres(t))
	keys := w.keyIDs()
	w.clock.advance(time.Minute) // past what is remembered
	release := w.hang()
	defer release()
	w.want(w.do("GET", "/healthz", "", nil), 200)
	if got := w.keyIDs(); !slices.Equal(got, keys) {
		t.Errorf("keys %v, want %v", got, keys)
	}
	w.want(w.do("GET", "/o/unknown/.well-known/jwks.json", "", nil), 503, agentidp.CodeTemporarilyUnavailable)
	if org, err := (&App{}).organization(t.Context(), agentidp.DefaultOrganization, healthPath); org != nil || err != nil { // no registry: it can ask nobody
		t.Errorf("%v, %v", org, err)
	}
}

// What a node remembers of an organization serves documents, and authorizes nothing:
// it may have been closed at another node since, or a key given up.
func TestNothingIsAuthorizedByARememberedOrganization(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(w *world, token string)
		status int
		code   string
	}{
		{"the organization was closed", func(w *world, _ string) {
			if _, _, err := w.app.CloseOrganization(w.t.Context(), "acme"); err != nil {
				w.t.Fatal(err)
			}
		}, 404, agentidp.CodeNotFound},
		{"the key was given up", func(w *world, token string) {
			if _, err := w.app.RotateKeys(w.t.Context(), "acme", signedBy(token)); err != nil {
				w.t.Fatal(err)
			}
		}, 401, agentidp.CodeInvalidToken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, onPostgres(t)).tenant("acme")
			other := w.node()
			other.url += "/o/acme"
			token := w.admin()
			other.want(other.do("GET", agentsPath, token, nil), 200)
			tt.change(w, token)

			release := w.hang()
			answers := make(chan *answer, 3)
			form := url.Values{"token": {token}}.Encode()
			go func() { answers <- other.do("POST", agentsPath, token, map[string]any{"name": agentName}) }()
			go func() { answers <- other.do("POST", "/oauth2/introspect", token, form, "Content-Type", formType) }()
			go func() { answers <- other.do("POST", revocationPath, token, form, "Content-Type", formType) }()
			time.Sleep(1500 * time.Millisecond) // longer than any patience with storage
			release()
			for range cap(answers) {
				a := <-answers
				if a.Status == http.StatusOK && len(a.Raw) == 0 { // of revocation: there was nothing left to end
					continue
				}
				w.want(a, tt.status, tt.code)
			}
		})
	}
}

// A token that a newer key signed is good, whatever a node remembers.
func TestARevocationDuringAHangIsDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onPostgres(t))
	other := w.node()
	other.want(other.do("GET", agentsPath, w.admin(), nil), 200)
	if _, err := w.app.RotateKeys(t.Context(), w.slug, ""); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(20 * time.Minute)
	token, good := w.admin(), w.admin()

	release := w.hang()
	revoked, active := make(chan *answer, 1), make(chan *answer, 1)
	go func() { revoked <- other.revoke("", token) }()
	go func() {
		active <- other.do("POST", "/oauth2/introspect", "", url.Values{"token": {good}}.Encode(), "Content-Type", formType)
	}()
	time.Sleep(1500 * time.Millisecond)
	release()
	w.ended(<-revoked)
	if a := w.want(<-active, 200); a.Body["active"] != true {
		t.Errorf("%s", a.Raw)
	}
	w.want(w.do("GET", agentsPath, token, nil), 401, agentidp.CodeInvalidToken)
}
