package keys

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	gojose "github.com/go-jose/go-jose/v4"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/store"
)

func newDB(t *testing.T) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "keys.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

func newMaster(t *testing.T, text string) *MasterKey {
	t.Helper()
	raw := make([]byte, masterKeySize)
	copy(raw, text)
	key, err := newMasterKey(base64.StdEncoding.EncodeToString(raw))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newOrg records an organization, which its keys are changed together with.
func newOrg(t *testing.T, db *store.DB, id string) *agentidp.Organization {
	t.Helper()
	org := &agentidp.Organization{ID: id, Slug: id, Name: id, Status: agentidp.OrganizationActive, Revision: 1, CreatedAt: now()}
	if err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.CreateOrganization(t.Context(), org) }); err != nil {
		t.Fatal(err)
	}
	return org
}

func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func TestAlgorithms(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"ES256", "RS256", "EdDSA"} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			db := newDB(t)
			org, ring := newOrg(t, db, "org"), NewRing(db, newMaster(t, "m"), alg, now)
			signer, err := ring.Signer(t.Context(), org)
			if err != nil {
				t.Fatal(err)
			}
			token, err := signer.Sign("at+jwt", []byte(`{"sub":"x"}`))
			if err != nil {
				t.Fatal(err)
			}
			jwks, etag, err := ring.JWKS(t.Context(), org)
			if err != nil || len(etag) < 10 {
				t.Fatalf("%s, %v", etag, err)
			}
			// Another implementation verifies it with what is published.
			var set gojose.JSONWebKeySet
			if err := json.Unmarshal(jwks, &set); err != nil {
				t.Fatal(err)
			}
			parsed, err := gojose.ParseSignedCompact(token, []gojose.SignatureAlgorithm{gojose.SignatureAlgorithm(alg)})
			if err != nil {
				t.Fatal(err)
			}
			if payload, err := parsed.Verify(set); err != nil || string(payload) != `{"sub":"x"}` {
				t.Errorf("%s, %v", payload, err)
			}
			if len(set.Keys) != 1 || set.Keys[0].KeyID != signer.KeyID() || !set.Keys[0].IsPublic() || set.Keys[0].Use != "sig" || set.Keys[0].Algorithm != alg {
				t.Errorf("published as %s", jwks)
			}
			if key, err := ring.Public(t.Context(), org, signer.KeyID()); err != nil || key == nil {
				t.Errorf("%v, %v", key, err)
			}
			if key, err := ring.Public(t.Context(), org, "none"); err != nil || key != nil {
				t.Errorf("a key that there is not: %v, %v", key, err)
			}
		})
	}
}

func TestChangingTheAlgorithmKeepsOldKeys(t *testing.T) {
	t.Parallel()
	db, master := newDB(t), newMaster(t, "m")
	org := newOrg(t, db, "org")
	signer := func(alg string) (string, *Ring) {
		ring := NewRing(db, master, alg, now)
		s, err := ring.Signer(t.Context(), org)
		if err != nil {
			t.Fatal(err)
		}
		return s.KeyID(), ring
	}
	es, _ := signer("ES256")
	rs, ring := signer("RS256")
	if es == rs {
		t.Fatal("the same key for two algorithms")
	}
	for _, kid := range []string{es, rs} {
		if key, err := ring.Public(t.Context(), org, kid); err != nil || key == nil {
			t.Errorf("%s is no longer known: %v", kid, err)
		}
	}
	jwks, _, err := ring.JWKS(t.Context(), org)
	if err != nil || !bytes.Contains(jwks, []byte(es)) || !bytes.Contains(jwks, []byte(rs)) {
		t.Errorf("%s, %v", jwks, err)
	}
	if back, _ := signer("ES256"); back != es {
		t.Errorf("changed back, it signs with %s, and did with %s", back, es)
	}
	if keys, err := db.SigningKeys(t.Context(), "org"); err != nil || len(keys) != 2 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

func TestKeysOfTwoOrganizationsAreTwoKeys(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	ring := NewRing(db, newMaster(t, "m"), "ES256", now)
	kids := map[string]bool{}
	orgs := map[string]*agentidp.Organization{"a": newOrg(t, db, "a"), "b": newOrg(t, db, "b")}
	for _, id := range []string{"a", "b", "a"} {
		org := orgs[id]
		s, err := ring.Signer(t.Context(), org)
		if err != nil {
			t.Fatal(err)
		}
		kids[s.KeyID()] = true
		events, err := db.Events(t.Context(), id, &agentidp.EventFilter{}, "", 10)
		if err != nil || len(events) != 1 || events[0].Type != agentidp.EventSigningKeyCreated || events[0].Data["kid"] != s.KeyID() {
			t.Errorf("%+v, %v", events, err)
		}
	}
	if len(kids) != 2 {
		t.Errorf("%d keys", len(kids))
	}
}

// Whoever can write to the database, and has not the master key, cannot make a
// server sign with a key of his, nor let one organization use another's.
func TestRowsThatWereTamperedWith(t *testing.T) {
	t.Parallel()
	db, master := newDB(t), newMaster(t, "m")
	victim := newOrg(t, db, "victim")
	if _, err := NewRing(db, master, "ES256", now).Signer(t.Context(), victim); err != nil {
		t.Fatal(err)
	}
	rows, err := db.SigningKeys(t.Context(), "victim")
	if err != nil {
		t.Fatal(err)
	}
	own, err := jose.GenerateKey("ES256")
	if err != nil {
		t.Fatal(err)
	}
	thumbprint, err := jose.Thumbprint(own.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, want string
		change     func(*store.SigningKey)
	}{
		{"moved to another organization", "does not open under the master key", func(*store.SigningKey) {}},
		{"with another key's id", "does not open under the master key", func(k *store.SigningKey) { k.KeyID = thumbprint }},
		{"with a key of his own, sealed under a key of his own", "does not open under the master key", func(k *store.SigningKey) {
			k.KeyID, k.SealedPrivateKey = thumbprint, newMaster(t, "his").seal([]byte("x"), label(k.OrganizationID, thumbprint))
		}},
		{"with another algorithm", "", func(k *store.SigningKey) {
			k.Algorithm, k.SealedPrivateKey = "RS256", resealed(t, master, &rows[0], k.OrganizationID, k.KeyID)
		}},
		{"sealed for another id", "has the thumbprint", func(k *store.SigningKey) {
			k.KeyID, k.SealedPrivateKey = thumbprint, resealed(t, master, &rows[0], k.OrganizationID, thumbprint)
		}},
	} {
		org := newOrg(t, db, strings.ReplaceAll(tt.name, " ", "-"))
		row := rows[0]
		row.OrganizationID = org.ID
		tt.change(&row)
		if err := db.Write(t.Context(), func(tx *store.Tx) error { return tx.CreateSigningKey(t.Context(), &row) }); err != nil {
			t.Fatal(err)
		}
		ring := NewRing(db, master, "ES256", now)
		_, err := ring.Signer(t.Context(), org)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
		if _, _, err := ring.JWKS(t.Context(), org); err == nil {
			t.Errorf("%s: a key set is published", tt.name)
		}
		if after, err := db.SigningKeys(t.Context(), org.ID); err != nil || len(after) != 1 {
			t.Errorf("%s: %d keys, %v; a new one hides the damage", tt.name, len(after), err)
		}
	}
	if _, err := NewRing(db, newMaster(t, "other"), "ES256", now).Signer(t.Context(), victim); err == nil {
		t.Error("under another master key it signs")
	}
}

// resealed opens a row and seals its key for another place.
func resealed(t *testing.T, master *MasterKey, row *store.SigningKey, org, kid string) []byte {
	t.Helper()
	der, err := master.open(row.SealedPrivateKey, label(row.OrganizationID, row.KeyID))
	if err != nil {
		t.Fatal(err)
	}
	return master.seal(der, label(org, kid))
}

func TestManyFirstUsesMakeOneKey(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	org, ring := newOrg(t, db, "org"), NewRing(db, newMaster(t, "m"), "ES256", now)
	kids := make([]string, 32)
	var wg sync.WaitGroup
	for i := range kids {
		wg.Go(func() {
			s, err := ring.Signer(t.Context(), org)
			if err != nil {
				t.Error(err)
				return
			}
			kids[i] = s.KeyID()
			if jwks, _, err := ring.JWKS(t.Context(), org); err != nil || !bytes.Contains(jwks, []byte(kids[i])) {
				t.Errorf("%s, %v", jwks, err)
			}
		})
	}
	wg.Wait()
	if rows, err := db.SigningKeys(t.Context(), "org"); err != nil || len(rows) != 1 || !reflect.DeepEqual(kids, repeated(rows[0].KeyID, len(kids))) {
		t.Errorf("%d keys, %v; used were %v", len(rows), err, kids)
	}
}

func repeated(s string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = s
	}
	return list
}

func TestWithoutStorageThereIsNoKey(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	org, ring := newOrg(t, db, "org"), NewRing(db, newMaster(t, "m"), "ES256", now)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Signer(t.Context(), org); err == nil {
		t.Error("a key that is nowhere recorded")
	}
	if _, err := ring.Public(t.Context(), org, "x"); err == nil {
		t.Error("no key, and no error")
	}
}
