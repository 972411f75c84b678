package verify

import (
	"fmt"
	"net/netip"
)

// What an address is that is not one of the public internet. Hosts that the operator
// listed may be on a private one; nothing is fetched from an address that is odd.
type nature int

const (
	public  nature = iota
	private        // of this machine or of a network behind it
	odd            // nobody's to serve from, or one that leads elsewhere
)

type network struct {
	prefix netip.Prefix
	nature nature
	name   string // completes "the host's address is …"
}

// metadata is what clouds tell and give a machine that asks, credentials among it, from
// an address that is not link-local: Alibaba's, Azure's, Amazon's, Google's, Scaleway's.
const metadata = "where a cloud has its metadata"

// networks are the special-purpose addresses of IANA's registries (RFC 6890) as far
// as they are not globally reachable, those that carry an IPv4 address within, and the
// metadata services of clouds. The first that fits counts. An IPv6 address that is none
// of them and outside of 2000::/3 is refused as well.
var networks = []network{
	{netip.MustParsePrefix("0.0.0.0/8"), odd, "unspecified"},
	{netip.MustParsePrefix("10.0.0.0/8"), private, "private"},
	{netip.MustParsePrefix("100.100.100.200/32"), odd, metadata},
	{netip.MustParsePrefix("100.64.0.0/10"), private, "shared by the customers of a carrier"},
	{netip.MustParsePrefix("127.0.0.0/8"), private, "loopback"},
	{netip.MustParsePrefix("168.63.129.16/32"), odd, metadata},
	{netip.MustParsePrefix("169.254.0.0/16"), odd, "link-local, where clouds have their metadata"},
	{netip.MustParsePrefix("172.16.0.0/12"), private, "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), odd, "reserved for protocols"},
	{netip.MustParsePrefix("192.0.2.0/24"), odd, "for documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), odd, "a 6to4 relay"},
	{netip.MustParsePrefix("192.168.0.0/16"), private, "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), private, "for benchmarks"},
	{netip.MustParsePrefix("198.51.100.0/24"), odd, "for documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), odd, "for documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), odd, "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), odd, "reserved"},

	{netip.MustParsePrefix("::/128"), odd, "unspecified"},
	{netip.MustParsePrefix("::1/128"), private, "loopback"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), odd, "one that a gateway translates (NAT64)"},
	{netip.MustParsePrefix("2001::/32"), odd, "one that carries another (Teredo)"},
	{netip.MustParsePrefix("2001::/23"), odd, "reserved for protocols"},
	{netip.MustParsePrefix("2001:db8::/32"), odd, "for documentation"},
	{netip.MustParsePrefix("2002::/16"), odd, "one that carries another (6to4)"},
	{netip.MustParsePrefix("3fff::/20"), odd, "for documentation"},
	{netip.MustParsePrefix("fd00:ec2::/32"), odd, metadata},
	{netip.MustParsePrefix("fd20:ce::254/128"), odd, metadata},
	{netip.MustParsePrefix("fd00:42::42/128"), odd, metadata},
	{netip.MustParsePrefix("fc00::/7"), private, "private"},
	{netip.MustParsePrefix("fe80::/10"), odd, "link-local"},
	{netip.MustParsePrefix("ff00::/8"), odd, "multicast"},
}

var (
	nat64    = netip.MustParsePrefix("64:ff9b::/96")
	global6  = netip.MustParsePrefix("2000::/3")
	reserved = network{nature: odd, name: "reserved"}
	isatap   = network{nature: odd, name: "one that carries another (ISATAP)"}
)

// classify says what an address is. An IPv4 address within an IPv6 one counts as
// what it is where that is how a public host is reached: mapped, and through the
// well-known prefix of NAT64 (RFC 6052 §2.1), which is all that a network without
// IPv4 has. The prefix that a network chose for itself cannot be known.
func classify(addr netip.Addr) network {
	addr = addr.WithZone("").Unmap()
	if nat64.Contains(addr) {
		b := addr.As16()
		addr = netip.AddrFrom4([4]byte(b[12:]))
	}
	for _, n := range networks {
		if n.prefix.Contains(addr) {
			return n
		}
	}
	if isISATAP(addr) {
		return isatap
	}
	if addr.Is4() || global6.Contains(addr) {
		return network{}
	}
	return reserved
}

// isISATAP tells an address whose last half is an IPv4 address behind the identifier of
// RFC 5214 §6.1: a host with such an interface tunnels to that address, whatever the
// network in front is.
func isISATAP(addr netip.Addr) bool {
	b := addr.As16()
	return addr.Is6() && b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe
}

// addressError is a host whose name leads to an address that is not to be asked. The
// address is for the log: it may be one of a network that a caller cannot see into.
type addressError struct {
	host string
	addr netip.Addr
	is   network
}

func (e *addressError) Error() string {
	return fmt.Sprintf("%s is at %s, which is %s", e.host, e.addr, e.is.name)
}

// reason completes a sentence that begins with the name of a field.
func (e *addressError) reason() string {
	s := fmt.Sprintf("names a host, %s, whose address is %s", e.host, e.is.name)
	if e.is.nature == private {
		s += "; " + listing(e.host)
	}
	return s
}
