package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/jose"
)

const maxDocument = 256 << 10 // bytes of metadata or a key set

// verifyWithServer checks a token as any service would, but for its audience: the
// signature by the issuer's published keys, iss, and exp. The error names all
// that is wrong, one a line. A nil client is one with the API client's time limit.
func verifyWithServer(ctx context.Context, hc *http.Client, issuer string, token *jose.JWS) error {
	if hc == nil {
		hc = &http.Client{Timeout: client.DefaultTimeout}
	}
	errs := []error{verifySignature(ctx, hc, issuer, token)}
	c := readClaims(token.Payload)
	if c.issuer != issuer {
		errs = append(errs, fmt.Errorf("issuer: not good: the token says %q, and the server is %s", c.issuer, issuer))
	}
	if words, alive := c.life(time.Now()); !alive {
		errs = append(errs, errors.New("life: not good: "+words))
	}
	return errors.Join(errs...)
}

// verifySignature goes from the issuer to its metadata (RFC 8414) and from there
// to its keys.
func verifySignature(ctx context.Context, hc *http.Client, issuer string, token *jose.JWS) error {
	var meta struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	doc, err := get(ctx, hc, "the server's metadata", issuer+"/.well-known/oauth-authorization-server")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(doc, &meta); err != nil || meta.Issuer != issuer {
		return fmt.Errorf("signature: not checked: the metadata of %s is not an issuer's, or names another issuer (RFC 8414 §3.3); give the server's own public URL", issuer)
	}
	if doc, err = get(ctx, hc, "the server's keys", meta.JWKSURI); err != nil {
		return err
	}
	keys, err := jose.ParseJWKS(doc, config.SigningAlgorithms)
	if err != nil {
		return fmt.Errorf("signature: not checked: read the key set of %s: %w", issuer, err)
	}
	for _, key := range keys {
		if key.ID == token.Header.Kid {
			if err := token.Verify(key); err != nil {
				return fmt.Errorf("signature: not good: %w", err)
			}
			return nil
		}
	}
	return errors.New("signature: not good: no key of " + issuer + " has the id that the token names")
}

// get fetches a document on which a verdict rests: over https, from where it is
// said to be and nowhere else, whole, and not more than maxDocument.
func get(ctx context.Context, hc *http.Client, what, address string) ([]byte, error) {
	if err := checkURL(address); err != nil {
		return nil, fmt.Errorf("signature: not checked: the URL of %s: %w", what, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	direct := *hc
	direct.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := direct.Do(req)
	if err != nil {
		return nil, fmt.Errorf("signature: not checked: get %s: %w", what, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("signature: not checked: get %s: %s answered %d %s; redirects are not followed", what, address, resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	doc, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("signature: not checked: read %s: %w", what, err)
	case len(doc) > maxDocument:
		return nil, fmt.Errorf("signature: not checked: %s are larger than %d KiB", what, maxDocument>>10)
	}
	return doc, nil
}

// organizationPath is what the path of an organization's URL can be.
var organizationPath = regexp.MustCompile(`^(/o/[^/]+)?$`)

// serverURL checks the server's URL and takes a trailing slash off it.
func serverURL(s string) (string, error) {
	if s == "" {
		return "", usageError{errors.New("--server (AGENTIDP_SERVER) is empty: give the server's public URL")}
	}
	source := "--server"
	if s == os.Getenv("AGENTIDP_SERVER") {
		source = "AGENTIDP_SERVER"
	}
	s = strings.TrimSuffix(s, "/")
	err := checkURL(s)
	if err == nil && strings.ContainsAny(s, "?#") {
		err = errors.New("it has a query or fragment; give scheme, host and path alone")
	}
	if u, _ := url.Parse(s); err == nil && !organizationPath.MatchString(u.Path) {
		err = errors.New("its path is not /o/SLUG; give the server's public URL as it is, with /o/SLUG for another organization than the default")
	}
	if err != nil {
		return "", usageError{fmt.Errorf("%s: %w", source, err)}
	}
	return s, nil
}

// checkURL never repeats the URL, which may hold a password.
func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("it is not an absolute https URL, such as https://idp.example.com")
	case u.User != nil:
		return errors.New("it has a user name or password in it; leave them out")
	case u.Scheme == "http" && !config.IsLoopback(u.Hostname()):
		return fmt.Errorf("plain http to %s could be read and altered on the way; use https (http is for loopback)", u.Hostname())
	}
	return nil
}

// claims are what is read of a token here.
type claims struct {
	issuer              string
	issuedAt, expiresAt int64
}

// readClaims takes exact names alone; a value of another type is as good as none.
func readClaims(payload []byte) claims {
	var all map[string]any
	_ = json.Unmarshal(payload, &all) // no JSON: no claims
	issuer, _ := all["iss"].(string)
	iat, _ := all["iat"].(float64)
	exp, _ := all["exp"].(float64)
	return claims{issuer, int64(iat), int64(exp)}
}

// life says in words how the token stands with a clock, and whether it is alive.
func (c claims) life(now time.Time) (string, bool) {
	if c.expiresAt <= 0 {
		return "it says no time of expiry", false
	}
	left := time.Unix(c.expiresAt, 0).Sub(now).Round(time.Second)
	if left <= 0 {
		return fmt.Sprintf("expired %s ago", -left), false
	}
	return fmt.Sprintf("%s left of %s", left, time.Duration(c.expiresAt-c.issuedAt)*time.Second), true
}
