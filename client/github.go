package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
)

const (
	requestURLVariable   = "ACTIONS_ID_TOKEN_REQUEST_URL"
	requestTokenVariable = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
)

// GitHubIDToken fetches a fresh ID token of the GitHub Actions job that the
// program runs in, as the variables ACTIONS_ID_TOKEN_REQUEST_URL and
// ACTIONS_ID_TOKEN_REQUEST_TOKEN say. The audience should be the BaseURL without
// a trailing slash, and never one that a server names: whoever the token is for
// can act as this job.
func (c *Client) GitHubIDToken(ctx context.Context, audience string) (string, error) {
	token, err := c.gitHubIDToken(ctx, audience)
	if err != nil {
		return "", fmt.Errorf("get an ID token from GitHub: %w", err)
	}
	return token, nil
}

func (c *Client) gitHubIDToken(ctx context.Context, audience string) (string, error) {
	if audience == "" {
		// GitHub's default names the repository's owner, and no AgentIdP accepts it.
		return "", errors.New("the audience is empty; use the server's URL, without a trailing slash")
	}
	requestURL, requestToken := os.Getenv(requestURLVariable), os.Getenv(requestTokenVariable)
	if requestURL == "" || requestToken == "" {
		return "", errors.New(requestURLVariable + " and " + requestTokenVariable + " are not both set: " +
			"GitHub sets them for a job with `permissions: id-token: write`, " +
			"and never for a pull request from a fork; " +
			"outside of GitHub, `agentidp emulate github` offers them")
	}
	u, err := c.parseURL(requestURLVariable, requestURL)
	if err != nil {
		return "", err
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "audience=" + url.QueryEscape(audience)

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "agentidp-client")
	req.Header.Set("Authorization", "Bearer "+requestToken)
	status, _, body, err := c.send(req)
	if err != nil {
		return "", withoutURL(err)
	}
	if status != http.StatusOK {
		return "", fmt.Errorf("%s answered %d %s; the request token is good only while the job runs", u.Host, status, http.StatusText(status))
	}
	var answer struct {
		Value string `json:"value"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Value == "" {
		return "", fmt.Errorf("%s answered 200 without an ID token", u.Host)
	}
	return answer.Value, nil
}

// withoutURL drops the address from an error of net/http: GitHub's names the
// job's service instance and nothing that helps.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
