package limit

import "net/netip"

// Address returns the address in "address:port", as net gives it, or an invalid one.
func Address(addrPort string) netip.Addr {
	a, err := netip.ParseAddrPort(addrPort)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap().WithZone("")
}

// v6Network is how much of an IPv6 address names its owner: providers give a /64 to
// one customer, who may use any address of it.
const v6Network = 64

// Key returns what an address is counted as: itself, or of IPv6 its /64 network.
func Key(a netip.Addr) netip.Addr {
	if !a.Is6() || a.Is4In6() {
		return a.Unmap()
	}
	p, err := a.Prefix(v6Network)
	if err != nil {
		return a
	}
	return p.Addr()
}
