package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
)

// S-090: whoever finds a vulnerability of an installation is told where to say so, also
// while storage hangs or is gone; and until when that is good, whichever day it is.
func TestSecurityTxt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) {
		c.SecurityContact, c.PublicURL, c.Dev = "mailto:security@example.com", "https://idp.example.com", false
		c.GitHubIssuer = "https://token.actions.githubusercontent.com"
	})
	w.clock.freeze()
	w.clock.advance(time.Date(2027, 2, 10, 23, 59, 59, 0, time.UTC).Sub(w.clock.Now()))
	if err := w.app.db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, expires := range []string{"2027-03-12", "2027-03-13"} {
		a := w.want(w.do("GET", securityPath, "", nil, "Sec-Fetch-Site", "cross-site"), 200)
		want := fmt.Sprintf("Contact: mailto:security@example.com\nExpires: %sT00:00:00Z\nCanonical: https://idp.example.com/.well-known/security.txt\n", expires)
		if string(a.Raw) != want {
			t.Errorf("it says\n%s, want\n%s", a.Raw, want)
		}
		if a.Header.Get("Content-Type") != "text/plain; charset=utf-8" || a.Header.Get("Cache-Control") != "public, max-age=3600" {
			t.Errorf("with %v", a.Header)
		}
		if head := w.want(w.do("HEAD", securityPath, "", nil), 200); len(head.Raw) != 0 || head.Header.Get("Content-Type") != a.Header.Get("Content-Type") {
			t.Errorf("HEAD: %v", head.Header)
		}
		w.clock.advance(time.Second)
	}
	w.want(w.do("POST", securityPath, "", ""), 405, agentidp.CodeMethodNotAllowed)
}

func TestWhereThereIsNoSecurityTxt(t *testing.T) {
	t.Parallel()
	contact := func(c *config.Config) { c.SecurityContact = "https://example.com/security" }
	told := newWorld(t, contact)
	if _, err := told.app.CreateOrganization(t.Context(), "acme", "Acme"); err != nil {
		t.Fatal(err)
	}
	told.isProblem(told.want(told.do("GET", "/o/acme"+securityPath, "", nil), 404, agentidp.CodeNotFound))
	if a := told.want(told.do("GET", securityPath, "", nil), 200); !strings.HasPrefix(string(a.Raw), "Contact: https://example.com/security\nExpires: ") || strings.Contains(string(a.Raw), "Canonical") {
		t.Errorf("it says %s", a.Raw)
	}
	silent := newWorld(t)
	silent.isProblem(silent.want(silent.do("GET", securityPath, "", nil), 404, agentidp.CodeNotFound))
}
