package verify

import (
	"net/netip"
	"testing"
)

// What an address is, and so who may be there: anybody, hosts that the operator
// listed, or nobody.
func TestAddressesOfHosts(t *testing.T) {
	t.Parallel()
	natures := map[nature]string{public: "public", private: "private", odd: "odd"}
	for addr, want := range map[string]string{
		"8.8.8.8":                          "public ",
		"140.82.112.3":                     "public ",
		"172.15.255.255":                   "public ",
		"172.32.0.0":                       "public ",
		"100.63.255.255":                   "public ",
		"100.128.0.0":                      "public ",
		"2606:50c0:8000::153":              "public ",
		"2001:4860:4860::8888":             "public ",
		"2a00:1450:4001::1":                "public ",
		"::ffff:8.8.8.8":                   "public ",
		"64:ff9b::8.8.8.8":                 "public ",
		"127.0.0.1":                        "private loopback",
		"127.255.255.255":                  "private loopback",
		"::1":                              "private loopback",
		"::ffff:127.0.0.1":                 "private loopback",
		"64:ff9b::127.0.0.1":               "private loopback",
		"10.0.0.0":                         "private private",
		"10.255.255.255":                   "private private",
		"172.16.0.1":                       "private private",
		"172.31.255.255":                   "private private",
		"192.168.0.1":                      "private private",
		"::ffff:10.0.0.1":                  "private private",
		"64:ff9b::a00:1":                   "private private",
		"fc00::1":                          "private private",
		"fd00:ec3::254":                    "private private",
		"fd20:ce::253":                     "private private",
		"100.64.0.1":                       "private shared by the customers of a carrier",
		"100.100.100.201":                  "private shared by the customers of a carrier",
		"198.18.0.1":                       "private for benchmarks",
		"198.19.255.255":                   "private for benchmarks",
		"0.0.0.0":                          "odd unspecified",
		"0.1.2.3":                          "odd unspecified",
		"::":                               "odd unspecified",
		"::ffff:0.0.0.0":                   "odd unspecified",
		"169.254.169.254":                  "odd link-local, where clouds have their metadata",
		"::ffff:169.254.169.254":           "odd link-local, where clouds have their metadata",
		"64:ff9b::169.254.169.254":         "odd link-local, where clouds have their metadata",
		"100.100.100.200":                  "odd where a cloud has its metadata",
		"::ffff:100.100.100.200":           "odd where a cloud has its metadata",
		"168.63.129.16":                    "odd where a cloud has its metadata",
		"64:ff9b::168.63.129.16":           "odd where a cloud has its metadata",
		"fd00:ec2::254":                    "odd where a cloud has its metadata",
		"fd00:ec2::23":                     "odd where a cloud has its metadata",
		"fd20:ce::254":                     "odd where a cloud has its metadata",
		"fd00:42::42":                      "odd where a cloud has its metadata",
		"fe80::1":                          "odd link-local",
		"fe80::1%eth0":                     "odd link-local",
		"224.0.0.1":                        "odd multicast",
		"239.255.255.255":                  "odd multicast",
		"ff02::1":                          "odd multicast",
		"192.0.0.192":                      "odd reserved for protocols",
		"192.0.2.1":                        "odd for documentation",
		"198.51.100.1":                     "odd for documentation",
		"203.0.113.1":                      "odd for documentation",
		"2001:db8::1":                      "odd for documentation",
		"3fff::1":                          "odd for documentation",
		"192.88.99.1":                      "odd a 6to4 relay",
		"240.0.0.1":                        "odd reserved",
		"255.255.255.255":                  "odd reserved",
		"64:ff9b:1::a00:1":                 "odd one that a gateway translates (NAT64)",
		"2001:0:4136:e378::1":              "odd one that carries another (Teredo)",
		"2001:20::1":                       "odd reserved for protocols",
		"2002:7f00:1::1":                   "odd one that carries another (6to4)",
		"2a00:1450::5efe:a00:1":            "odd one that carries another (ISATAP)",
		"2a00:1450:0:0:200:5efe:8.8.8.8":   "odd one that carries another (ISATAP)",
		"2a00:1450:0:0:0:5efe:127.0.0.1":   "odd one that carries another (ISATAP)",
		"2a00:1450:0:0:100:5efe:127.0.0.1": "public ", // not ISATAP's identifier
		"fe80::5efe:10.0.0.1":              "odd link-local",
		"::ffff:0:10.0.0.1":                "odd reserved", // IPv4-translated (RFC 2765)
		"::127.0.0.1":                      "odd reserved", // IPv4-compatible
		"100::1":                           "odd reserved",
		"fec0::1":                          "odd reserved",
		"4000::1":                          "odd reserved",
		"5f00::1":                          "odd reserved",
	} {
		is := classify(netip.MustParseAddr(addr))
		if got := natures[is.nature] + " " + is.name; got != want {
			t.Errorf("%s is %s, want %s", addr, got, want)
		}
		g := newGuard(Config{Hosts: []string{"ci.internal"}, Configured: []string{"https://ghes.internal:8443/x"}})
		for _, tt := range []struct {
			host, port string
			ok         bool
		}{
			{"ci.example", "443", is.nature == public},
			{"ci.internal", "8080", is.nature != odd},
			{"ghes.internal", "8443", is.nature != odd},
			{"ghes.internal", "443", is.nature == public},
			{"localhost", "443", is.nature == public},
		} {
			if err := g.checkAddr(tt.host, tt.port, netip.MustParseAddr(addr)); tt.ok != (err == nil) {
				t.Errorf("%s:%s at %s: %v", tt.host, tt.port, addr, err)
			}
		}
	}
}
