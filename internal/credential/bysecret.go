package credential

import (
	"context"
	"crypto/subtle"
	"errors"
	"strings"

	"github.com/sentryagent/agentidp"
)

var (
	errNoSecret     = errors.New("what was presented has not the form of a client secret")
	errNoCredential = errors.New("there is no such credential")
	errOtherSecret  = errors.New("the credential is another client's, or the secret another one")
)

// noHash is what a secret is compared with where there is nothing to compare it with.
var noHash = strings.Repeat("-", 43)

// bySecret finds the credential that a secret names, and compares. Whoever has not
// proven to be the client causes the same work whether there is such a credential or
// not: a hash, one look at the database, a comparison.
func (a *Authenticator) bySecret(ctx context.Context, org *agentidp.Organization, p *Presented, afresh bool) (*agentidp.Credential, error) {
	id, ok := ID(p.Secret)
	if !ok { // which says nothing of what there is: anybody can check the form
		return nil, unproven(errNoSecret)
	}
	hash := Hash(p.Secret)
	for {
		c, read, err := a.cache.credential(ctx, a.DB, org.ID, id, afresh)
		if err != nil {
			return nil, unavailable(err)
		}
		now := a.Clock()
		proven := proves(c, p.ClientID, hash)
		switch {
		case proven && c.Live(now):
			return c, nil
		case !read: // an old row is no reason to refuse
			afresh = true
		case c == nil:
			return nil, unproven(errNoCredential)
		case !proven:
			return nil, unproven(errOtherSecret)
		default:
			return nil, ended(c, now)
		}
	}
}

// proves reports whether whoever presents a secret with this hash is the client that
// the credential belongs to.
func proves(c *agentidp.Credential, clientID, hash string) bool {
	stored := noHash
	if c != nil && c.Type == agentidp.CredentialSecret {
		stored = c.SecretHash
	}
	equal := subtle.ConstantTimeCompare([]byte(stored), []byte(hash)) == 1
	return equal && c != nil && c.AgentID == clientID
}
