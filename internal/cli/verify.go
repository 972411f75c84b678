package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/jose"
)

const maxDocument = 256 << 10

// verifyWithServer verifies a token as any service would: the issuer's metadata
// names the key set, and the key set's key verifies the signature.
func verifyWithServer(ctx context.Context, issuer string, token *jose.JWS) error {
	var meta struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	doc, err := get(ctx, issuer+"/.well-known/oauth-authorization-server")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(doc, &meta); err != nil || meta.Issuer != issuer {
		return fmt.Errorf("the metadata of %s names another issuer (RFC 8414 §3.3)", issuer)
	}
	if doc, err = get(ctx, meta.JWKSURI); err != nil {
		return err
	}
	keys, err := jose.ParseJWKS(doc, config.SigningAlgorithms)
	if err != nil {
		return fmt.Errorf("read the key set of %s: %w", issuer, err)
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

func get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, usageError{fmt.Errorf("--server: %w", err)}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("GET %s answered %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, maxDocument))
}
