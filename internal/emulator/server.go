package emulator

import (
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strings"
	"unicode/utf8"
)

const (
	discoveryPath = "/.well-known/openid-configuration"
	jwksPath      = "/.well-known/jwks"
	tokenPath     = "/token"
	apiVersion    = "2.0"
)

// Handler serves discovery, keys and the token endpoint, all under the path of
// the issuer.
func (e *Emulator) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+discoveryPath, e.serveDiscovery)
	mux.HandleFunc("GET "+jwksPath, e.serveJWKS)
	mux.HandleFunc("GET "+tokenPath, e.serveToken)
	return http.StripPrefix(e.path, mux)
}

func (e *Emulator) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                e.issuer,
		"jwks_uri":                              e.issuer + jwksPath,
		"subject_types_supported":               []string{"public", "pairwise"},
		"response_types_supported":              []string{"id_token"},
		"id_token_signing_alg_values_supported": []string{algorithm},
		"scopes_supported":                      []string{"openid"},
		"claims_supported":                      claimNames,
	})
}

// claimNames are the claims of every token, and environment.
var claimNames = []string{
	"actor", "actor_id", "aud", "base_ref", "check_run_id", "environment", "event_name", "exp", "head_ref",
	"iat", "iss", "job_workflow_ref", "job_workflow_sha", "jti", "nbf", "ref", "ref_protected", "ref_type",
	"repository", "repository_id", "repository_owner", "repository_owner_id", "repository_visibility",
	"run_attempt", "run_id", "run_number", "runner_environment", "sha", "sub", "workflow", "workflow_ref",
	"workflow_sha",
}

func (e *Emulator) serveJWKS(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, json.RawMessage(e.jwks))
}

// serveToken is the endpoint behind ACTIONS_ID_TOKEN_REQUEST_URL. Errors are
// {"message": …}, the member that the toolkit shows to its user.
func (e *Emulator) serveToken(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if !e.authorized(r.Header.Get("Authorization")) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		writeMessage(w, http.StatusUnauthorized, "The request token is missing or wrong: send ACTIONS_ID_TOKEN_REQUEST_TOKEN of this emulator as a bearer token.")
		return
	}
	query := r.URL.Query()
	if query.Get("api-version") != apiVersion {
		writeMessage(w, http.StatusBadRequest, "api-version must be "+apiVersion+": use ACTIONS_ID_TOKEN_REQUEST_URL as it is, and append &audience= with the audience, URL-encoded.")
		return
	}
	audience := query.Get("audience")
	if len(query["audience"]) > 1 || !utf8.ValidString(audience) {
		writeMessage(w, http.StatusBadRequest, "audience must be sent once, as URL-encoded UTF-8: an ID token has one audience.")
		return
	}
	token, err := e.Mint(Options{Audience: audience})
	if err != nil {
		writeMessage(w, http.StatusInternalServerError, "The emulator cannot mint this token: "+err.Error())
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"count": len(token), "value": token})
}

func (e *Emulator) authorized(header string) bool {
	scheme, token, _ := strings.Cut(header, " ")
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare([]byte(token), []byte(e.requestToken)) == 1
}

func writeMessage(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]string{"message": message})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client left: nobody to tell
}
