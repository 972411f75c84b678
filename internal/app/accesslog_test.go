package app

import (
	"net/http"
	"strings"
	"testing"
)

// A load balancer that asks every second must not fill the log.
func TestLinesOfProbes(t *testing.T) {
	w := newWorld(t)
	for _, tt := range []struct {
		says   string
		path   string
		ending bool
		status int
		level  string
	}{
		{"that the process answers", healthPath, false, http.StatusOK, "DEBUG"},
		{"that it is ready", readyPath, false, http.StatusOK, "DEBUG"},
		{"that it is about to end", readyPath, true, http.StatusServiceUnavailable, "WARN"},
		{"what any other request does", "/.well-known/jwks.json", false, http.StatusOK, "INFO"},
	} {
		w.app.ending.Store(tt.ending)
		a := w.do(http.MethodGet, tt.path, "", nil)
		w.app.ending.Store(false)
		if a.Status != tt.status {
			t.Errorf("%s: %d, want %d", tt.says, a.Status, tt.status)
		}
		line := ""
		for l := range strings.Lines(w.logs.String()) {
			if strings.Contains(l, a.Header.Get("X-Request-Id")) && strings.Contains(l, `"msg":"request"`) {
				line = l
			}
		}
		if !strings.Contains(line, `"level":"`+tt.level+`"`) {
			t.Errorf("%s: its line is %q, want one of level %s", tt.says, line, tt.level)
		}
	}
}
