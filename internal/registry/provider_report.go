package registry

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/verify"
)

// reportTime bounds a look at a provider, below the time that a request has.
const reportTime = 8 * time.Second

// TestProvider looks at a provider as it is now, at the issuer itself: its discovery
// document where one is read, and its keys. Nothing is issued, saved or remembered by
// it. What is wrong with the issuer is in the report; errors are NotFound, TooMany and
// Unavailable (storage).
func (r *Registry) TestProvider(ctx context.Context, org *agentidp.Organization, name string) (*agentidp.ProviderReport, error) {
	p, err := r.anyProvider(ctx, org, name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, reportTime)
	defer cancel()
	report := &agentidp.ProviderReport{Provider: p.Name, JWKSURI: p.JWKSURI, Problems: []string{}, Keys: []agentidp.ProviderKey{}}
	var keys []verify.KeyReport
	if p.JWKS != nil {
		if keys, err = verify.ReportKeys(p.JWKS, p.Algorithms); err != nil {
			report.Problems = append(report.Problems, "The static keys cannot be read: "+err.Error()+". Replace the provider.")
			return report, nil
		}
	} else {
		if kind := r.Kinds[p.Kind]; kind == nil || kind.JWKSPath == "" {
			if err := r.reportDiscovery(ctx, p, report); err != nil {
				return nil, err
			}
		}
		keys, err = r.Verifier.FetchKeys(ctx, p.JWKSURI, p.Algorithms)
	}
	if err != nil {
		return report, problemIn(report, err)
	}
	for _, k := range keys {
		report.Keys = append(report.Keys, agentidp.ProviderKey{ID: k.KeyID, Algorithm: k.Algorithm, Usable: k.Problem == "", Problem: k.Problem})
		report.Usable = report.Usable || k.Problem == ""
	}
	if !report.Usable {
		report.Problems = append(report.Problems, "There is no key that tokens can be verified with, for a provider with the algorithms "+strings.Join(p.Algorithms, ", ")+".")
	}
	return report, nil
}

// reportDiscovery compares what the issuer says of itself with what is registered.
func (r *Registry) reportDiscovery(ctx context.Context, p *agentidp.Provider, report *agentidp.ProviderReport) error {
	report.Discovery = &agentidp.ProviderDiscovery{URL: strings.TrimSuffix(p.Issuer, "/") + "/.well-known/openid-configuration"}
	d, err := r.Verifier.Discover(ctx, p.Issuer)
	if d != nil {
		report.Discovery.JWKSURI = d.JWKSURI
		accepted := func(alg string) bool { return slices.Contains(p.Algorithms, alg) }
		if len(d.Algorithms) > 0 && !slices.ContainsFunc(d.Algorithms, accepted) {
			report.Problems = append(report.Problems, "The issuer says that it signs with "+strings.Join(d.Algorithms, ", ")+", and the provider accepts "+strings.Join(p.Algorithms, ", ")+" alone.")
		}
	}
	switch {
	case d != nil && d.JWKSURI == p.JWKSURI: // an administrator has chosen it, wherever it is
		return nil
	case err != nil:
		return problemIn(report, err)
	}
	report.Problems = append(report.Problems, "The issuer says that its keys are at "+d.JWKSURI+", and the provider reads "+p.JWKSURI+". If that is right, replace the provider.")
	return nil
}

// problemIn adds to a report what is wrong with the issuer, and returns what is wrong
// with the look itself.
func problemIn(report *agentidp.ProviderReport, err error) error {
	e := agentidp.AsError(err)
	if e.Kind == agentidp.TooMany || e.Kind == agentidp.Internal {
		return err
	}
	report.Problems = append(report.Problems, e.Message)
	return nil
}
