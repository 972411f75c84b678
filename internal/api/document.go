package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/problem"
)

// Document returns the OpenAPI 3.1 document as indented JSON, the same bytes for
// the same code.
func (a *API) Document() ([]byte, error) {
	raw, err := a.huma.OpenAPI().MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("render the OpenAPI document: %w", err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return nil, fmt.Errorf("render the OpenAPI document: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

func (a *API) registerDocument(mux *http.ServeMux) {
	serve := func(contentType string, render func() ([]byte, error)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			doc, err := render()
			if err != nil {
				problem.Write(w, r, agentidp.AsError(err))
				return
			}
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Cache-Control", "public, max-age=300")
			_, _ = w.Write(doc) // the client left: nobody to tell
		}
	}
	mux.HandleFunc("GET /api/v1/openapi.json", serve(mediaJSON, a.Document))
	mux.HandleFunc("GET /api/v1/openapi.yaml", serve("application/yaml", a.huma.OpenAPI().YAML))
}
