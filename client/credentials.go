package client

import (
	"context"
	"iter"
	"net/http"
	"time"

	"github.com/sentryagent/agentidp"
)

// CreateCredential gives an agent one more way to authenticate. A client secret is in
// the answer and nowhere else: where ErrOutcomeUnknown is beside an error, there may be
// a credential whose secret nobody knows, which ListCredentials shows.
func (c *Client) CreateCredential(ctx context.Context, agentID string, spec agentidp.CredentialSpec) (*agentidp.CreatedCredential, error) {
	var out agentidp.CreatedCredential
	err := c.credential(ctx, agentID, "", &call{verb: "create the credential", method: http.MethodPost, body: spec, out: &out})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// ListCredentials returns one page of the credentials of an agent, in the order of their
// creation; those that have ended, too.
func (c *Client) ListCredentials(ctx context.Context, agentID string, opts ListOptions) (*Page[agentidp.Credential], error) {
	var out Page[agentidp.Credential]
	err := c.credential(ctx, agentID, "", &call{verb: "list credentials", method: http.MethodGet, query: opts.query(), out: &out})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// AllCredentials goes through all credentials of an agent, in the order of
// ListCredentials, and reads pages as they are needed. An error ends it.
func (c *Client) AllCredentials(ctx context.Context, agentID string) iter.Seq2[*agentidp.Credential, error] {
	return all(func(opts ListOptions) (*Page[agentidp.Credential], error) {
		return c.ListCredentials(ctx, agentID, opts)
	})
}

// GetCredential reads a credential of an agent, also one that has ended, for a time. No
// secret is in it.
func (c *Client) GetCredential(ctx context.Context, agentID, id string) (*agentidp.Credential, error) {
	if err := checkID("credential", id); err != nil {
		return nil, err
	}
	var out agentidp.Credential
	err := c.credential(ctx, agentID, "/"+id, &call{verb: "read the credential", method: http.MethodGet, out: &out})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// RotateCredential replaces a secret by another. The old one ends at once, or, to the
// second, after the time of grace. Of ErrOutcomeUnknown, CreateCredential says what it
// means; without grace, the old secret may have ended, too.
func (c *Client) RotateCredential(ctx context.Context, agentID, id string, grace time.Duration) (*agentidp.CreatedCredential, error) {
	if err := checkID("credential", id); err != nil {
		return nil, err
	}
	var out agentidp.CreatedCredential
	err := c.credential(ctx, agentID, "/"+id+"/rotate", &call{
		verb: "rotate the credential", method: http.MethodPost, body: map[string]int64{"graceSeconds": int64(grace / time.Second)}, out: &out,
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// DeleteCredential ends a credential at once, for good. Its record stays for a time.
func (c *Client) DeleteCredential(ctx context.Context, agentID, id string) error {
	if err := checkID("credential", id); err != nil {
		return err
	}
	return c.credential(ctx, agentID, "/"+id, &call{verb: "delete the credential", method: http.MethodDelete})
}

// credential makes a call whose path continues after the agent's credentials.
func (c *Client) credential(ctx context.Context, agentID, path string, k *call) error {
	if err := checkID("agent", agentID); err != nil {
		return err
	}
	k.path = agentsPath + "/" + agentID + "/credentials" + path
	return c.do(ctx, k)
}
