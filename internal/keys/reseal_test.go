package keys

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

// keyFile returns a file with a master key, and where it is to be found.
func keyFile(t *testing.T, text string) MasterKeySource {
	t.Helper()
	raw := make([]byte, masterKeySize)
	copy(raw, text)
	file := filepath.Join(t.TempDir(), "master.key")
	if err := os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(raw)), 0o600); err != nil {
		t.Fatal(err)
	}
	return MasterKeySource{File: file}
}

// sealedHouse is a house whose database is sealed by its master key.
func sealedHouse(t *testing.T) (h *house, old MasterKeySource) {
	t.Helper()
	h, old = newHouse(t, "ES256"), keyFile(t, "m")
	if _, err := Unlock(t.Context(), h.db, old); err != nil {
		t.Fatal(err)
	}
	return h, old
}

// ring opens the database with a master key, as a server that starts does.
func (h *house) ring(src MasterKeySource) *Ring {
	h.Helper()
	master, err := Unlock(h.Context(), h.db, src)
	if err != nil {
		h.Fatal(err)
	}
	return NewRing(h.db, master, "ES256", func() time.Time { return h.now })
}

func TestResealedKeysAreTheSameKeys(t *testing.T) {
	h, old := sealedHouse(t)
	h.says(h.operator, h.org())
	if _, err := h.operator.Rotate(t.Context(), h.org()); err != nil {
		t.Fatal(err)
	}
	h.now = h.now.Add(Lead)
	given := h.kid("k1")
	if _, err := h.operator.Compromised(t.Context(), h.org(), given); err != nil {
		t.Fatal(err)
	}
	before := h.says(h.operator, h.org())
	next := keyFile(t, "another")
	if err := Reseal(t.Context(), h.db, newMaster(t, "m"), next); err != nil {
		t.Fatal(err)
	}
	if after := h.says(h.ring(next), h.org()); after != before {
		t.Errorf("before: %s, after: %s", before, after)
	}
	if _, err := Unlock(t.Context(), h.db, old); err == nil {
		t.Error("the old master key still opens the database")
	}
	if _, err := h.nodes[0].Signer(t.Context(), h.org()); err == nil {
		t.Error("a server with the old key signs on")
	}
	if err := Reseal(t.Context(), h.db, newMaster(t, "m"), keyFile(t, "a third")); err == nil || !strings.Contains(err.Error(), "nothing was changed") {
		t.Errorf("with the old key once more: %v", err)
	}
	h.says(h.ring(next), h.org()) // so it was
}

func TestAbandonedKeysAreGone(t *testing.T) {
	h, old := sealedHouse(t)
	h.says(h.operator, h.org())
	if _, err := h.operator.Rotate(t.Context(), h.org()); err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time { return h.now }
	err := Abandon(t.Context(), h.db, old, "ES256", clock)
	if err == nil || !strings.Contains(err.Error(), "is the one that sealed this database, so nothing is lost and nothing was changed") {
		t.Fatalf("with the right key: %v", err)
	}
	none := MasterKeySource{File: filepath.Join(t.TempDir(), "master.key")}
	if err := Abandon(t.Context(), h.db, none, "ES256", clock); err == nil || !strings.Contains(err.Error(), "give the new one in AGENTIDP_MASTER_KEY") {
		t.Fatalf("without a key: %v", err)
	}
	was := h.org().Revision
	none.MayCreate = true
	if err := Abandon(t.Context(), h.db, none, "ES256", clock); err != nil {
		t.Fatal(err)
	}
	ring := h.ring(none)
	signer, err := ring.Signer(t.Context(), h.org())
	if err != nil || h.org().Revision == was {
		t.Fatalf("revision %d, and was %d; %v", h.org().Revision, was, err)
	}
	list, err := ring.List(t.Context(), h.org())
	if err != nil || len(list) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	for i := range list {
		want := agentidp.SigningKeyCompromised
		if list[i].ID == signer.KeyID() {
			want = agentidp.SigningKeySigning
		}
		if list[i].Status != want {
			t.Errorf("%+v, want %s", list[i], want)
		}
	}
	if _, err := Unlock(t.Context(), h.db, old); err == nil {
		t.Error("the old master key opens the database")
	}
}
