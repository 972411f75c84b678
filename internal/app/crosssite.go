package app

import (
	"net/http"

	"github.com/sentryagent/agentidp"
)

// crossSite reports whether a browser says of a request that a page of another origin
// made it. Browsers send Sec-Fetch-Site with every request to https or loopback, and
// Origin with all that is neither GET nor HEAD, and no page can change either. Other
// clients send neither (Node's fetch sends Sec-Fetch-Mode alone); one that does is taken
// at its word.
func crossSite(h http.Header, own string) bool {
	for _, site := range h["Sec-Fetch-Site"] {
		if site != "same-origin" && site != "none" { // none: the address was typed in
			return true
		}
	}
	for _, origin := range h["Origin"] {
		if origin != own {
			return true
		}
	}
	return false
}

// errCrossSite refuses what a page of another origin sends. A page needs nothing here
// but the public documents; what it could do is to use up its visitor's limits.
func errCrossSite() error {
	return agentidp.NewError(agentidp.Denied, agentidp.CodeCrossSiteRequest,
		"A web page of another origin sent this (Sec-Fetch-Site, Origin), and pages get only the public documents of this server. Send it from a program; if you sent it from one, leave these headers out.")
}
