package app

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/api"
	"github.com/sentryagent/agentidp/internal/limit"
	"github.com/sentryagent/agentidp/internal/oauth"
	"github.com/sentryagent/agentidp/internal/problem"
	"github.com/sentryagent/agentidp/internal/registry"
)

// requestTimeout bounds the work on one request, below the server's write
// timeout so that the answer still gets out.
const requestTimeout = 10 * time.Second

// Headers of every answer. Handlers of public documents override Cache-Control.
var (
	noStore = []string{"no-store"}
	noSniff = []string{"nosniff"}
	csp     = []string{"default-src 'none'; frame-ancestors 'none'"}
	noRefer = []string{"no-referrer"}
	hsts    = []string{"max-age=31536000"}

	connectionClose = []string{"close"}
)

// handler is what every request passes: a trace, safe headers, the log, the
// organization, and then the routes.
func (a *App) handler(mux *http.ServeMux) http.Handler {
	secure := strings.HasPrefix(a.cfg.PublicURL, "https://")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start, sent := time.Now(), r.Context()
		trace := &problem.Trace{RequestID: agentidp.NewID(a.clock())}
		ctx, cancel := context.WithTimeout(problem.WithTrace(r.Context(), trace), requestTimeout)
		defer cancel()
		r = r.WithContext(ctx)
		client, shown := a.proxies.client(r)
		a.strangerSays(r)
		rw := &response{ResponseWriter: w, remote: shown, counted: limit.Key(client)}
		rw.conn, _ = r.Context().Value(connKey{}).(*limit.Conn)
		a.metrics.Begun()

		h := w.Header()
		h["X-Request-Id"] = []string{trace.RequestID}
		h["Cache-Control"], h["X-Content-Type-Options"] = noStore, noSniff
		h["Content-Security-Policy"], h["Referrer-Policy"] = csp, noRefer
		if secure {
			h["Strict-Transport-Security"] = hsts
		}
		if len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1) || a.ending.Load() {
			// RFC 9112 §6.3: the connection ends after a request that had a length as
			// well as chunks, which net/http does not tell. A proxy may have read the
			// length. §6.1: so it does after HTTP/1.0 with chunks, of which net/http
			// tells nothing, and takes what may be the body for the next request.
			h["Connection"] = connectionClose
		}
		defer func() { rw.conn.Done(sent.Err() != nil) }()
		defer a.finish(rw, r, trace, start)
		a.route(rw, r, mux)
	})
}

// route finds the organization under whose prefix a request came, and its
// handler. A path that is not in its one canonical form leads nowhere, so that
// nothing is reached under two names.
func (a *App) route(w *response, r *http.Request, mux *http.ServeMux) {
	slug, rest := place(r.URL.Path)
	write := errorForm(rest)
	if err := a.admit(w, r, slug, rest); err != nil {
		write(w, r, err)
		return
	}
	if path.Clean(rest) != rest || r.URL.RawPath != "" {
		write(w, r, noSuchPath())
		return
	}
	org, err := a.organization(r.Context(), slug, rest)
	if err != nil {
		if agentidp.AsError(err).Kind == agentidp.NotFound {
			problem.Unproven(r.Context()) // whoever tries slugs has the database read
		}
		write(w, r, err)
		return
	}
	turned, err := a.turn(w, r)
	if err != nil {
		write(w, r, err)
		return
	}
	r = turned
	if strings.HasPrefix(rest, apiRoot+"/") {
		problem.AsksAPI(r.Context(), org)
	}
	r2 := r.WithContext(registry.WithOrganization(r.Context(), org))
	r2.URL = &url.URL{Path: rest, RawQuery: r.URL.RawQuery}
	w.unrouted = func() bool { return r2.Pattern == "" }
	w.routed = r2
	mux.ServeHTTP(w, r2)
	if w.intercepted == 0 {
		return
	}
	w.unrouted = nil
	if w.intercepted == http.StatusMethodNotAllowed {
		e := agentidp.NewError(agentidp.MethodNotAllowed, agentidp.CodeMethodNotAllowed, "This path does not take "+safeMethod(r.Method)+"; see the Allow header.")
		write(w, r, e)
		return
	}
	write(w, r, noSuchPath())
}

// errorForm returns what writes the errors of a path below an issuer: whatever goes wrong
// with a request to an endpoint of OAuth, its client reads one form.
func errorForm(rest string) func(http.ResponseWriter, *http.Request, error) {
	if strings.HasPrefix(rest, oauth.Prefix) {
		return oauth.WriteError
	}
	return problem.Write
}

// organization returns the organization of a request: as it is now for all that
// authorizes or changes something. It is nil for the liveness of the process, which
// is asked for because storage may hang, and for what is of the host alone.
func (a *App) organization(ctx context.Context, slug, rest string) (*agentidp.Organization, error) {
	switch {
	case slug == agentidp.DefaultOrganization && (rest == healthPath || rest == securityPath):
		return nil, nil
	case rest == api.ExchangePath || rest == oauth.TokenPath || rest == oauth.IntrospectionPath:
		return a.registry.RecentOrganization(ctx, slug)
	case isDocument(rest):
		return a.registry.KnownOrganization(ctx, slug)
	}
	return a.registry.ReadOrganization(ctx, slug)
}

// inserted are the documents whose path has that of what they describe behind it
// rather than before (RFC 8414 §3.1, §5; RFC 9728 §3.1): of the issuer, or of the API
// below it.
var inserted = []struct{ document, below string }{
	{"/.well-known/oauth-authorization-server", ""},
	{"/.well-known/openid-configuration", ""},
	{agentidp.ResourceMetadataPath, apiRoot},
}

// apiRoot is the path of an organization's API, below its issuer.
const apiRoot = "/api/v1"

// place returns the slug of the organization that a path belongs to, and the path
// below its issuer. What can be no slug is looked up nowhere.
func place(p string) (slug, rest string) {
	switch {
	case strings.HasPrefix(p, "/o/"):
		slug, rest, _ = strings.Cut(p[len("/o/"):], "/")
		return prefixed(slug), "/" + rest
	case strings.HasPrefix(p, "/.well-known/"):
		return described(p)
	}
	return agentidp.DefaultOrganization, p
}

// prefixed returns the slug that stands in a path. The default organization's never
// does: it has one issuer, and that is the root.
func prefixed(slug string) string {
	if slug == agentidp.DefaultOrganization {
		return ""
	}
	return slug
}

// described is place for the documents at the root.
func described(p string) (slug, rest string) {
	for _, d := range inserted {
		of, ok := strings.CutPrefix(p, d.document)
		if !ok {
			continue
		}
		if of, ok = strings.CutSuffix(of, d.below); !ok {
			continue
		}
		if slug, ok := strings.CutPrefix(of, "/o/"); ok {
			return prefixed(slug), d.document
		}
		if of == "" {
			return agentidp.DefaultOrganization, d.document
		}
	}
	return agentidp.DefaultOrganization, p
}

func noSuchPath() error {
	return agentidp.NewError(agentidp.NotFound, agentidp.CodeNotFound, "There is nothing at this path; /api/v1/openapi.json lists what there is.")
}

// safeMethod names a method in an answer only when it is a usual one.
func safeMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "that method"
}

// finish ends a request: a panic becomes a 500, its place is free again, it is counted,
// and the one log line is written.
func (a *App) finish(w *response, r *http.Request, trace *problem.Trace, start time.Time) {
	a.metrics.Ended()
	w.end()
	if p := recover(); p != nil {
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(p)
		}
		a.logger.Error("a handler panicked", "request_id", trace.RequestID, "panic", p, "stack", string(debug.Stack()))
		if w.status == 0 {
			w.unrouted = nil
			_, rest := place(r.URL.Path)
			errorForm(rest)(w, r, agentidp.AsError(nil))
		}
	}
	a.settle(w, trace)
	route, took := "", time.Since(start)
	if w.routed != nil {
		route = w.routed.Pattern
	}
	a.metrics.Answered(route, w.status, took)
	a.log(w, r, trace, took)
}
