package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sentryagent/agentidp/internal/problem"
)

// document is one that anyone may read: the OpenAPI document in one of its forms, or the
// schema of files of policies.
type document struct {
	body []byte
	etag string
}

// once returns a function that renders a document when it is first asked for:
// that takes milliseconds, and anyone may ask.
func once(render func() ([]byte, error)) func() (*document, error) {
	return sync.OnceValues(func() (*document, error) {
		body, err := render()
		if err != nil {
			return nil, fmt.Errorf("render a public document: %w", err)
		}
		sum := sha256.Sum256(body)
		return &document{body, `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`}, nil
	})
}

// Document returns the OpenAPI 3.1 document as indented JSON, the same bytes for
// the same code. The caller does not change them.
func (a *API) Document() ([]byte, error) {
	doc, err := a.json()
	if err != nil {
		return nil, err
	}
	return doc.body, nil
}

func (a *API) registerDocument(mux humago.Mux) {
	a.json = once(func() ([]byte, error) {
		raw, err := a.huma.OpenAPI().MarshalJSON()
		if err != nil {
			return nil, err
		}
		var out bytes.Buffer
		err = json.Indent(&out, raw, "", "  ")
		out.WriteByte('\n')
		return out.Bytes(), err
	})
	a.yaml = once(a.huma.OpenAPI().YAML)
	page := once(func() ([]byte, error) { return renderPage(a.huma.OpenAPI()) })
	mux.HandleFunc("GET /api/v1/openapi.json", serveDocument(mediaJSON, a.json))
	mux.HandleFunc("GET /api/v1/openapi.yaml", serveDocument("application/yaml", a.yaml))
	mux.HandleFunc("GET /api/v1/trust-policies.schema.json", serveDocument(mediaSchema, once(PolicySchema)))
	mux.HandleFunc("GET /api/v1/docs", servePage(serveDocument("text/html; charset=utf-8", page)))
}

// serveDocument answers with a document, or with 304 to whoever has it already.
func serveDocument(contentType string, get func() (*document, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		doc, err := get()
		if err != nil {
			problem.Write(w, r, err)
			return
		}
		h := w.Header()
		h.Set("ETag", doc.etag)
		h.Set("Cache-Control", "public, max-age=300")
		// RFC 9110 §13.1.2 compares weakly.
		for tag := range strings.SplitSeq(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
			if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == doc.etag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
		}
		h.Set("Content-Type", contentType)
		_, _ = w.Write(doc.body) // the client left: nobody to tell
	}
}
