package credential

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"math/big"
	"slices"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/store"
)

var errOtherKey = errors.New("no key of such a client signed the assertion")

// byAssertion authenticates a client that signed an assertion for this (RFC 7523 §2.2).
// The assertion is used up only where everything else about it is right, so that
// strangers, and those whose key was revoked, cause no write.
func (a *Authenticator) byAssertion(ctx context.Context, org *agentidp.Organization, p *Presented) (*agentidp.Credential, error) {
	as, err := parseAssertion(p.Assertion)
	if err != nil {
		return nil, unproven(err)
	}
	c, err := a.signedBy(ctx, org, as)
	if err != nil {
		return nil, err
	}
	now := a.Clock()
	if err := ended(c, now); err != nil {
		return nil, err
	}
	if err := as.check(org.Issuer, p.ClientID, now); err != nil {
		return nil, err
	}
	if err := as.notSinceRestore(org.RestoredAt, now); err != nil {
		return nil, err
	}
	if err := a.mayAsk(org.ID, c.AgentID); err != nil {
		return nil, err
	}
	err = a.DB.UseOnce(ctx, org.ID, store.Once{Of: "client_assertion:" + c.AgentID, Key: as.id(), Until: as.until()})
	switch {
	case errors.Is(err, store.ErrReplayed):
		return nil, refuse("jti", "was used before: an assertion is good for one request. Sign a fresh one for every request, also for a retry")
	case err != nil:
		return nil, unavailable(err)
	}
	return c, nil
}

// signedBy returns the credential of the key that signed an assertion, which may have
// ended. Nothing that was remembered is a reason to refuse.
func (a *Authenticator) signedBy(ctx context.Context, org *agentidp.Organization, as *assertion) (*agentidp.Credential, error) {
	now := a.Clock()
	known := a.cache.knownSigners(org.ID, as.subject)
	c, tried := as.signer(known, nil, now)
	if decoy := a.decoys[as.jws.Header.Alg]; !tried && decoy != nil {
		_ = as.jws.Verify(decoy) // for the time that it takes, and at the same point: before the database is asked
	}
	stands, err := a.stands(ctx, org.ID, c, now)
	if err != nil {
		return nil, unavailable(err)
	}
	if stands {
		return c, nil
	}
	current, err := a.cache.signersOf(ctx, a.DB, org.ID, as.subject, now)
	if err != nil {
		return nil, unavailable(err)
	}
	if c != nil {
		known = nil // the key may be that of another credential by now
	}
	if c, _ = as.signer(current, known, now); c == nil {
		return nil, unproven(errOtherKey)
	}
	return c, nil
}

// stands reports whether a credential that was remembered authenticates still.
func (a *Authenticator) stands(ctx context.Context, orgID string, c *agentidp.Credential, now time.Time) (bool, error) {
	if c == nil || !c.Live(now) {
		return false, nil
	}
	current, _, err := a.cache.credential(ctx, a.DB, orgID, c.CredentialID, true)
	return err == nil && current != nil && current.Revision == c.Revision, err
}

// signer finds the credential whose key signed an assertion, and says whether there was
// a signature to verify. What stands in before was tried.
func (as *assertion) signer(all, before []signer, now time.Time) (c *agentidp.Credential, tried bool) {
	for _, s := range as.candidates(all, now) {
		if byID(before, s.CredentialID) != nil {
			continue
		}
		for _, key := range s.keys {
			if key.Algorithm != as.jws.Header.Alg {
				continue
			}
			tried = true
			if as.jws.Verify(key) == nil {
				return s.Credential, true
			}
		}
	}
	return nil, tried
}

// maxUnnamed bounds the keys that are tried for an assertion that names none: strangers
// send such assertions, too.
const maxUnnamed = 20

// candidates are the keys that an assertion may be signed with: those that its kid names,
// or the newest of the client's where it names none, as ready-made clients do that have
// one key. All are the client's own, so it makes no difference which it is; and a second
// key ends nothing that the first one signs. Ended ones come last.
func (as *assertion) candidates(all []signer, now time.Time) (chosen []signer) {
	kid, n := as.jws.Header.Kid, 0
	for _, live := range []bool{true, false} { // two credentials may have one key
		for _, s := range all {
			for i, key := range s.keys {
				if s.Live(now) != live || kid != "" && key.ID != kid || kid == "" && n == maxUnnamed {
					continue
				}
				chosen = append(chosen, signer{s.Credential, s.keys[i : i+1]})
				n++
			}
		}
	}
	return chosen
}

func byID(all []signer, id string) *agentidp.Credential {
	i := slices.IndexFunc(all, func(s signer) bool { return s.CredentialID == id })
	if i < 0 {
		return nil
	}
	return all[i].Credential
}

// newDecoys returns a key for each algorithm, which nobody has the private half of or
// will use: what a signature is held against where there is no key, so that the answer
// takes as long.
func newDecoys() map[string]*jose.Key {
	decoys := map[string]*jose.Key{}
	add := func(alg string, public any) {
		if key, err := jose.NewKey("", alg, public); err == nil {
			decoys[alg] = key
		}
	}
	modulus := make([]byte, 256)
	_, _ = rand.Read(modulus) // never fails: it ends the program instead
	modulus[0] |= 0x80
	modulus[255] |= 1
	for _, alg := range []string{jose.RS256, jose.RS384, jose.RS512} {
		add(alg, &rsa.PublicKey{N: new(big.Int).SetBytes(modulus), E: 65537})
	}
	for alg, curve := range map[string]elliptic.Curve{jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384()} {
		if key, err := ecdsa.GenerateKey(curve, rand.Reader); err == nil {
			add(alg, &key.PublicKey)
		}
	}
	if public, _, err := ed25519.GenerateKey(rand.Reader); err == nil {
		add(jose.EdDSA, public)
	}
	return decoys
}
