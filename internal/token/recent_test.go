package token

import (
	"errors"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// organization is as it is now.
func (d *desk) organization() *agentidp.Organization {
	d.t.Helper()
	org, err := d.db.Organization(d.t.Context(), d.a.Slug)
	if err != nil {
		d.t.Fatal(err)
	}
	org.Issuer = d.a.Issuer
	return org
}

// changeOrganization changes the organization behind the back of whoever has read it.
func (d *desk) changeOrganization(change func(*agentidp.Organization)) {
	d.t.Helper()
	d.write(func(tx *store.Tx) error {
		org, err := tx.LockOrganization(d.t.Context(), d.a.ID)
		if err != nil {
			return err
		}
		change(org)
		org.Revision++
		return tx.UpdateOrganization(d.t.Context(), org)
	})
}

// A request may begin with an organization that was read a while ago, and with a token
// whose signature was verified before: neither keeps a key alive that was given up, nor
// the organization.
func TestWhatIsRememberedKeepsNothingAlive(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	token := d.issue(d.a, d.record(d.a, agentidp.PrincipalAdmin))
	seen := d.organization()
	active := func(name string, org *agentidp.Organization, token string, want bool) {
		t.Helper()
		for range 2 {
			got, err := d.Introspect(t.Context(), org, "", nil, token)
			if err != nil || got.Active != want {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
	}
	active("at first", seen, token, true)
	if d.verified.Len() != 1 {
		t.Errorf("%d tokens are remembered", d.verified.Len())
	}
	active("under another organization", d.b, token, false)
	d.changeOrganization(func(*agentidp.Organization) {})
	active("with nothing else changed", seen, token, true)

	// The key is given up, and another takes its place.
	signer, err := d.ring.Signer(t.Context(), seen)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.ring.Compromised(t.Context(), d.organization(), signer.KeyID()); err != nil {
		t.Fatal(err)
	}
	active("its key was given up", seen, token, false)
	fresh := d.issue(d.organization(), d.record(d.a, agentidp.PrincipalAdmin))
	active("a key that is newer than what was read", seen, fresh, true)

	d.changeOrganization(func(o *agentidp.Organization) { o.Status = agentidp.OrganizationClosed })
	for name, token := range map[string]string{"a good token": fresh, "no token": "x"} {
		got, err := d.Introspect(t.Context(), seen, "", nil, token)
		if e, ok := errors.AsType[*agentidp.Error](err); !ok || e.Kind != agentidp.NotFound {
			t.Errorf("%s of a closed organization: %+v, %v", name, got, err)
		}
	}
}

// Only what an organization signed is remembered, and not for ever.
func TestWhatIsRememberedIsWorthWhatTheRecordSays(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	rec := d.record(d.a, agentidp.PrincipalAdmin)
	token := d.issue(d.a, rec)
	for _, forged := range []string{"x", token[:len(token)-4] + "AAAA", token + "A"} {
		if got, err := d.Introspect(t.Context(), d.a, "", nil, forged); err != nil || got.Active {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if n := d.verified.Len(); n != 0 {
		t.Errorf("%d forged tokens are remembered", n)
	}
	for _, want := range []bool{true, false} {
		got, err := d.Introspect(t.Context(), d.a, "", nil, token)
		if err != nil || got.Active != want {
			t.Errorf("%+v, %v, want %v", got, err, want)
		}
		d.now = d.now.Add(time.Hour)
	}
}
