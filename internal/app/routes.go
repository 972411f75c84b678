package app

import "net/http"

// routes is the server's only mux. It remembers its patterns, which http.ServeMux
// cannot list, so that the authorization matrix misses none.
type routes struct {
	http.ServeMux
	patterns []string
}

// HandleFunc registers a route, before the server runs. It is all that those who
// register routes are given.
func (r *routes) HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request)) {
	r.patterns = append(r.patterns, pattern)
	r.ServeMux.HandleFunc(pattern, handler)
}
