package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"
)

const (
	requestURLVariable   = "ACTIONS_ID_TOKEN_REQUEST_URL"
	requestTokenVariable = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
)

// GitHubIDToken fetches a fresh ID token of the GitHub Actions job that the
// program runs in, as the variables ACTIONS_ID_TOKEN_REQUEST_URL and
// ACTIONS_ID_TOKEN_REQUEST_TOKEN say. The audience should be the BaseURL without
// a trailing slash, and never one that a server names: whoever the token is for
// can act as this job. Asking is repeated like any other call that reads.
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

	var token string
	err = c.persist(ctx, passing, func() (err error) {
		token, err = c.askGitHub(ctx, u, requestToken)
		return err
	})
	return token, err
}

func (c *Client) askGitHub(ctx context.Context, u *url.URL, requestToken string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "agentidp-client")
	req.Header.Set("Authorization", "Bearer "+requestToken)
	status, header, body, err := c.send(req)
	if err != nil {
		return "", withoutURL(err)
	}
	if status != http.StatusOK {
		err := fmt.Errorf("%s answered %d %s; the request token is good only while the job runs", u.Host, status, http.StatusText(status))
		return "", &gitHubError{error: err, status: status, retryAfter: retryAfter(header)}
	}
	var answer struct {
		Value string `json:"value"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Value == "" {
		return "", fmt.Errorf("%s answered 200 without an ID token", u.Host)
	}
	return answer.Value, nil
}

// gitHubError is an answer of GitHub's that is none: no Error, which is the server's.
type gitHubError struct {
	error
	status     int
	retryAfter time.Duration
}

// withoutURL drops the address from an error of net/http: GitHub's names the
// job's service instance and nothing that helps.
func withoutURL(err error) error {
	e, ok := errors.AsType[*noAnswer](err)
	if u, is := errors.AsType[*url.Error](err); ok && is {
		return &noAnswer{error: u.Err, sent: e.sent}
	}
	return err
}
