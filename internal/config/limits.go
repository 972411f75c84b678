package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Limits say how much of the server one party may take. 0 is no limit, but for
// Concurrency; recorded refusals always have one.
type Limits struct {
	RefusalsPerMinute        int      `group:"Limits" env:"AGENTIDP_REFUSALS_PER_MINUTE" default:"60" help:"Refused exchanges of one repository that are recorded in a minute; beyond it they are answered 429." doc:"All repositories of a provider together: twenty times that."`
	ExchangesPerMinute       int      `group:"Limits" env:"AGENTIDP_EXCHANGES_PER_MINUTE" default:"600" help:"Exchanges of one repository in a minute, also at once, granted or not; 0: no limit."`
	TokenRequestsPerMinute   int      `group:"Limits" env:"AGENTIDP_TOKEN_REQUESTS_PER_MINUTE" default:"3000" help:"Requests with one access token in a minute, also at once; 0: no limit."`
	ClientRequestsPerMinute  int      `group:"Limits" env:"AGENTIDP_CLIENT_REQUESTS_PER_MINUTE" default:"6000" help:"Requests of one authenticated OAuth client in a minute, also at once, at the token, introspection and revocation endpoints; 0: no limit." doc:"A client is an agent. It is counted when it has proven who it is."`
	AgentTokensPerMinute     int      `group:"Limits" env:"AGENTIDP_AGENT_TOKENS_PER_MINUTE" default:"1200" help:"Access tokens of one agent that are issued in a minute, also at once, by whatever grant; 0: no limit."`
	AddressFailuresPerMinute int      `group:"Limits" env:"AGENTIDP_ADDRESS_FAILURES_PER_MINUTE" default:"300" help:"Requests of one address in a minute that prove nothing (unproven subject tokens, refused bearer tokens); 0: no limit." doc:"Beyond it all but public documents and health is answered 429 to that address: [limits](operating.md#limits)."`
	AddressRequestsPerMinute int      `group:"Limits" env:"AGENTIDP_ADDRESS_REQUESTS_PER_MINUTE" default:"12000" help:"Requests of one address in a minute, also at once; 0: no limit." doc:"Of IPv6, the /64 network is the address."`
	TrustedProxies           []string `group:"Limits" env:"AGENTIDP_TRUSTED_PROXIES" example:"[10.0.0.0/8, 192.0.2.7]" placeholder:"ADDRESS" help:"Proxies in front of this server: addresses or networks, separated by commas. Only what they say in X-Forwarded-For is heeded." doc:"Without it, all clients behind a proxy share the limits of one address, and a stranger can lock them out: [limits](operating.md#limits)."`
	Concurrency              int      `group:"Limits" env:"AGENTIDP_CONCURRENCY" default:"0" help:"Requests in work at once: so many exchanges, as many at the token endpoint, and as many others; 0: 64 for each CPU, 128 at least." doc:"Sixteen times as many wait, for half a second; beyond that the answer is 503."`
	MaxConnections           int      `group:"Limits" env:"AGENTIDP_MAX_CONNECTIONS" default:"4096" help:"Open connections; 0: no limit." doc:"For one more, the one is closed that has kept the server waiting longest. Never more than the process may have files open."`
	AddressConnections       int      `group:"Limits" env:"AGENTIDP_ADDRESS_CONNECTIONS" default:"1024" help:"Open connections of one address that is no trusted proxy; 0: no limit."`
}

// Each is beyond what any server does in a minute.
const (
	maxLimit    = 10_000_000
	maxRefusals = 1_000_000 // twenty times as many are a provider's
)

// Complete checks the limits.
func (l *Limits) Complete() error {
	_, err := l.Proxies()
	errs := []error{err}
	for _, limit := range []struct {
		name             string
		value, low, high int
	}{
		{"refusals-per-minute", l.RefusalsPerMinute, 1, maxRefusals},
		{"address-requests-per-minute", l.AddressRequestsPerMinute, 0, maxLimit},
		{"address-failures-per-minute", l.AddressFailuresPerMinute, 0, maxLimit},
		{"exchanges-per-minute", l.ExchangesPerMinute, 0, maxLimit},
		{"token-requests-per-minute", l.TokenRequestsPerMinute, 0, maxLimit},
		{"client-requests-per-minute", l.ClientRequestsPerMinute, 0, maxLimit},
		{"agent-tokens-per-minute", l.AgentTokensPerMinute, 0, maxLimit},
		{"concurrency", l.Concurrency, 0, maxLimit},
		{"max-connections", l.MaxConnections, 0, maxLimit},
		{"address-connections", l.AddressConnections, 0, maxLimit},
	} {
		if limit.value < limit.low || limit.value > limit.high {
			variable := "AGENTIDP_" + strings.ToUpper(strings.ReplaceAll(limit.name, "-", "_"))
			errs = append(errs, fmt.Errorf("%s (%s): %d is not between %d and %d", limit.name, variable, limit.value, limit.low, limit.high))
		}
	}
	return errors.Join(errs...)
}

// Proxies returns the networks of TrustedProxies.
func (l *Limits) Proxies() ([]netip.Prefix, error) {
	var networks []netip.Prefix
	var errs []error
	for _, text := range l.TrustedProxies {
		network, err := parseNetwork(strings.TrimSpace(text))
		if err != nil {
			errs = append(errs, fmt.Errorf("trusted-proxies (AGENTIDP_TRUSTED_PROXIES): %q %w", text, err))
		}
		networks = append(networks, network)
	}
	return networks, errors.Join(errs...)
}

// parseNetwork reads an address or a network. One whose address has bits beyond its
// length is refused: it may be meant to be narrower than it is.
func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	network, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return network, errors.New("is neither an address nor a network; give 192.0.2.7 or 10.0.0.0/8, several separated by commas")
	case network.Addr().Is4In6():
		return network, errors.New("is IPv4 written as IPv6; write it as IPv4, such as 10.0.0.0/8")
	case network != network.Masked():
		return network, fmt.Errorf("has an address beyond its length; write %s", network.Masked())
	}
	return network, nil
}
