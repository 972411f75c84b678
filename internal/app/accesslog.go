package app

import (
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/problem"
)

// log writes the line of a request. Of requests that were turned away for a limit, one a
// second has a line, so that a flood does not fill the disk. Whoever asks every second
// whether the server is well writes one only where it is not.
func (a *App) log(w *response, r *http.Request, trace *problem.Trace, took time.Duration) {
	level := slog.LevelInfo
	probe := r.URL.Path == healthPath || r.URL.Path == readyPath
	switch {
	case probe && w.status < http.StatusMultipleChoices:
		level = slog.LevelDebug
	case w.status >= http.StatusInternalServerError && (w.early || probe): // as it should be, under a flood, and before its end
		level = slog.LevelWarn
	case w.status >= http.StatusInternalServerError:
		level = slog.LevelError
	}
	if !a.logger.Enabled(r.Context(), level) {
		return
	}
	var before int64
	if w.early {
		var due bool
		if before, due = a.entrance.requestLines.Due(a.clock()); !due {
			return
		}
	}
	attrs := make([]slog.Attr, 0, 8)
	attrs = append(attrs,
		slog.String("request_id", trace.RequestID), slog.String("method", loggedMethod(r.Method)), slog.String("path", loggedPath(r.URL.Path)),
		slog.Int("status", w.status), slog.Int64("duration_us", took.Microseconds()), slog.String("remote", w.remote))
	if w.early {
		attrs = append(attrs, slog.Int64("not_logged_before", before))
	}
	if trace.Err != nil {
		e := agentidp.AsError(trace.Err)
		attrs = append(attrs, slog.String("code", e.Code))
		if e.DecisionID != "" {
			attrs = append(attrs, slog.String("decision_id", e.DecisionID))
		}
		if w.status >= http.StatusInternalServerError {
			attrs = append(attrs, slog.String("error", trace.Err.Error()))
		}
	}
	a.logger.LogAttrs(r.Context(), level, "request", attrs...)
}

// loggedMethod is a method as the log may hold it: HTTP lets a stranger write a long
// one.
func loggedMethod(m string) string {
	const longest = 20
	if len(m) > longest {
		return m[:longest] + "…"
	}
	return m
}

// maxLoggedPath bounds what a stranger can write into the log with one request.
const maxLoggedPath = 200

// secretLooks are how a JOSE header begins in base64url, {", and a client secret.
var secretLooks = []string{"eyJ", "agentidp_cs_"}

func looksSecret(s string) bool {
	return slices.ContainsFunc(secretLooks, func(look string) bool { return strings.Contains(s, look) })
}

// loggedPath is a path as the log may hold it: not too long, and without what
// somebody put there by mistake in place of an id.
func loggedPath(p string) string {
	if looksSecret(p) {
		segments := strings.Split(p, "/")
		for i, s := range segments {
			if looksSecret(s) {
				segments[i] = "(a secret)"
			}
		}
		p = strings.Join(segments, "/")
	}
	if strings.ContainsFunc(p, func(r rune) bool { return !strconv.IsPrint(r) }) {
		p = (&url.URL{Path: p}).EscapedPath() // what turns text around, or commands a terminal
	}
	if len(p) > maxLoggedPath {
		p = p[:maxLoggedPath] + "…"
	}
	return p
}
