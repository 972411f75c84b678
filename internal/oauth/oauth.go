// Package oauth is the OAuth 2.0 and OpenID side of the server: the documents that
// relying parties read, server metadata (RFC 8414, OpenID Connect Discovery) and the
// key set (RFC 7517), and the endpoints for tokens (RFC 6749, RFC 8693, RFC 7523), of
// introspection (RFC 7662) and revocation (RFC 7009), with forms and error bodies as
// RFC 6749 has them.
//
// It does not own keys (internal/keys), who a client is (internal/credential), who gets
// a token (internal/exchange, internal/grant), nor what is issued, what it is worth and
// how it ends (internal/token). It advertises only endpoints that exist.
package oauth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/credential"
	"github.com/sentryagent/agentidp/internal/exchange"
	"github.com/sentryagent/agentidp/internal/grant"
	"github.com/sentryagent/agentidp/internal/keys"
	"github.com/sentryagent/agentidp/internal/problem"
	"github.com/sentryagent/agentidp/internal/registry"
	"github.com/sentryagent/agentidp/internal/token"
)

// Config is what the endpoints work with.
type Config struct {
	Ring       *keys.Ring
	Tokens     *token.Tokens
	Exchanger  *exchange.Exchanger
	Clients    *credential.Authenticator
	Granter    *grant.Granter
	Observe    func(exchange.Result) // is told how each grant to a client ended
	SigningAlg string                // what tokens are signed with
	Clock      func() time.Time
}

// server serves the protocol's documents and endpoints.
type server struct{ Config }

// Mux is where routes are registered: an http.ServeMux, or what keeps one.
type Mux interface {
	HandleFunc(pattern string, handler func(http.ResponseWriter, *http.Request))
}

// New registers them on mux, with paths from the root of an organization.
func New(mux Mux, cfg Config) {
	s := &server{cfg}
	mux.HandleFunc("GET /.well-known/openid-configuration", s.discovery)
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", s.metadata)
	mux.HandleFunc("GET "+agentidp.ResourceMetadataPath, s.resource)
	mux.HandleFunc("GET "+keysPath, s.jwks)
	mux.HandleFunc("POST "+TokenPath, s.token)
	mux.HandleFunc("POST "+IntrospectionPath, s.introspect)
	mux.HandleFunc("POST "+revocationPath, s.revoke)
}

// IntrospectionPath is the introspection endpoint (RFC 7662 §2).
const IntrospectionPath = Prefix + "introspect"

const (
	keysPath       = "/.well-known/jwks.json"
	revocationPath = Prefix + "revoke"
)

// cacheControl lets relying parties keep a document for five minutes. A key is
// published for longer than that before it signs (keys.Lead), but for one that has
// to sign at once.
const cacheControl = "public, max-age=300"

func (s *server) jwks(w http.ResponseWriter, r *http.Request) {
	body, etag, err := s.Ring.JWKS(r.Context(), registry.OrganizationFrom(r.Context()))
	if err != nil {
		e := agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable, "The keys cannot be read now. Try again.")
		problem.Write(w, r, e.WithCause(err))
		return
	}
	serve(w, r, body, etag, "application/jwk-set+json")
}

// serveJSON serves a document of an organization.
func serveJSON(w http.ResponseWriter, r *http.Request, document any) {
	body, err := json.Marshal(document)
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	serve(w, r, body, entityTag(body), "application/json")
}

// serve answers with a public document that pages of any origin may read, or with
// 304 to whoever has it already.
func serve(w http.ResponseWriter, r *http.Request, body []byte, etag, contentType string) {
	h := w.Header()
	h.Set("ETag", etag)
	h.Set("Cache-Control", cacheControl)
	h.Set("Access-Control-Allow-Origin", "*")
	if matches(r.Header.Values("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", contentType)
	_, _ = w.Write(body) // the client left: nobody to tell
}

// entityTag returns a strong entity tag of a document.
func entityTag(body []byte) string {
	sum := sha256.Sum256(body)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
}

// matches compares entity tags weakly, as If-None-Match wants (RFC 9110 §13.1.2).
func matches(values []string, etag string) bool {
	for _, value := range values {
		for tag := range strings.SplitSeq(value, ",") {
			tag = strings.TrimSpace(tag)
			if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
				return true
			}
		}
	}
	return false
}
