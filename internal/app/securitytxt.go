package app

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/sentryagent/agentidp/internal/problem"
	"github.com/sentryagent/agentidp/internal/registry"
)

const securityPath = "/.well-known/security.txt"

// securityExpires is how long what the document says is good. Whoever kept it asks again
// then; RFC 9116 §2.5.5 wants less than a year.
const securityExpires = 30 * 24 * time.Hour

// securityTxt says who is to be told of a vulnerability of this installation (RFC 9116).
// It is about the host, so no organization has one.
func (a *App) securityTxt(w http.ResponseWriter, r *http.Request) {
	if registry.OrganizationFrom(r.Context()) != nil {
		problem.Write(w, r, noSuchPath())
		return
	}
	// By the day, so that all nodes say the same.
	expires := a.clock().UTC().Add(securityExpires).Truncate(24 * time.Hour)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=3600")
	// The client left: nobody to tell.
	_, _ = fmt.Fprintf(w, "Contact: %s\nExpires: %s\n", a.cfg.SecurityContact, expires.Format(time.RFC3339))
	if strings.HasPrefix(a.cfg.PublicURL, "https://") { // of web addresses, §2.5.2 allows no other
		_, _ = fmt.Fprintf(w, "Canonical: %s%s\n", a.cfg.PublicURL, securityPath)
	}
}
