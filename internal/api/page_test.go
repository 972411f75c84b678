package api

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// the page runs nothing, fetches nothing, and its policy would let it do
// neither.
func TestA220ThePageShowsEveryOperationAndRunsNothing(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	New(mux, Config{Version: "1<2"})
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/docs", nil))
	page := w.Body.String()
	ops, schemas := readDocument(t)
	for id := range ops {
		if strings.Count(page, `<section id="`+id+`">`) != 1 || !strings.Contains(page, `href="#`+id+`"`) {
			t.Errorf("%s is not on the page", id)
		}
	}
	for name, schema := range schemas {
		if strings.Count(page, `<section id="`+name+`">`) != 1 {
			t.Errorf("%s is not on the page", name)
		}
		for member := range schema.Properties {
			if !strings.Contains(page, "<code>"+member+"</code>") {
				t.Errorf("%s.%s is not on the page", name, member)
			}
		}
	}
	for _, link := range regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		id, local := strings.CutPrefix(link[1], "#")
		if local && !strings.Contains(page, `id="`+id+`"`) || !local && !strings.HasPrefix(link[1], "openapi.") {
			t.Errorf("a link leads to %s", link[1])
		}
	}
	if strings.Contains(page, "<script") || strings.Contains(page, "url(") || strings.Contains(page, "1<2") {
		t.Error("the page runs or fetches something, or does not escape")
	}
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(page)
	sum := sha256.Sum256([]byte(style[1]))
	want := "default-src 'none'; frame-ancestors 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	if got := w.Header().Get("Content-Security-Policy"); got != want {
		t.Errorf("the policy is %s, want %s", got, want)
	}
}
