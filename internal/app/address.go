package app

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/sentryagent/agentidp/internal/limit"
)

// proxies are the networks whose word about their clients is taken.
type proxies []netip.Prefix

func (p proxies) trust(a netip.Addr) bool {
	return slices.ContainsFunc(p, func(network netip.Prefix) bool { return network.Contains(a) })
}

const forwardedFor = "X-Forwarded-For"

// client returns the address that a request comes from, and how the log shows it:
// its peer's or, where that is a trusted proxy, the last in X-Forwarded-For that is
// none. Each proxy adds its own peer at the end, so what stands further to the left is
// what somebody says of himself. An entry that is no address ends the walk at the
// proxy that handed it on. Forwarded (RFC 7239) is not read: two headers that may
// disagree are a way in.
func (p proxies) client(r *http.Request) (_ netip.Addr, shown string) {
	peer := limit.Address(r.RemoteAddr)
	if client := p.walk(peer, r.Header[forwardedFor]); client != peer {
		return client, client.String()
	}
	return peer, r.RemoteAddr
}

// walk goes from hop to hop until one is not trusted, or not known.
func (p proxies) walk(hop netip.Addr, lines []string) netip.Addr {
	if !p.trust(hop) {
		return hop
	}
	for i := len(lines) - 1; i >= 0; i-- { // several lines are one list (RFC 9110 §5.3)
		for list, more := lines[i], true; more; {
			var entry string
			if comma := strings.LastIndexByte(list, ','); comma >= 0 {
				list, entry = list[:comma], list[comma+1:]
			} else {
				entry, more = list, false
			}
			a, ok := forwarded(strings.TrimSpace(entry))
			if !ok {
				return hop
			}
			if hop = a; !p.trust(hop) {
				return hop
			}
		}
	}
	return hop
}

// forwarded reads an entry: an address, of which some proxies give the port too.
func forwarded(entry string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(entry, "["), "]"))
	if err != nil {
		a = limit.Address(entry)
	}
	return a.Unmap(), a.IsValid() && a.Zone() == ""
}

// strangerSays warns once in the server's life when a peer that is not trusted speaks
// for another: if it is the proxy, all clients are one to the limits.
func (a *App) strangerSays(r *http.Request) {
	once := &a.entrance.warned
	if len(r.Header[forwardedFor]) == 0 || once.Load() || a.proxies.trust(limit.Address(r.RemoteAddr)) || once.Swap(true) {
		return
	}
	a.logger.Warn("a request has X-Forwarded-For, and its peer is no trusted proxy, so it is not heeded: if that is your proxy, name it in AGENTIDP_TRUSTED_PROXIES (--trusted-proxies), or all of its clients share the limits of one address",
		"peer", r.RemoteAddr)
}
