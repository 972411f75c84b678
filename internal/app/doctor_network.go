package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/providers"
	"github.com/sentryagent/agentidp/internal/verify"
)

const (
	doctorTimeout = 5 * time.Second
	doctorBody    = 512 << 10
	doctorAsks    = 20 // organizations and issuers, each
)

// network asks the public URL what clients are told there, and the issuers for their
// keys; and what time it is, by all of them.
func (d *doctor) network(ctx context.Context) {
	orgs := d.orgs
	if len(orgs) == 0 && d.Config.PublicURL != "" {
		orgs = []agentidp.Organization{{Slug: agentidp.DefaultOrganization, Issuer: d.Config.PublicURL}}
	}
	for i := range orgs[:min(len(orgs), doctorAsks)] {
		orgs[i].Issuer = agentidp.IssuerURL(d.Config.PublicURL, orgs[i].Slug)
		d.publicURL(ctx, &orgs[i])
	}
	d.issuers(ctx)
	const check, remedy = "clock", "set it, best by NTP: an hour of tokens hangs on a minute"
	switch {
	case d.asked == 0:
		d.say(FindingWarn, check, "give access to the network, or compare by hand", "nobody could be asked what time it is")
	case d.skew.Abs() >= verify.Skew:
		d.say(FindingFail, check, remedy, "it is off by %s; subject tokens are refused from %s on", d.skew, verify.Skew)
	case d.skew.Abs() >= verify.Skew/2:
		d.say(FindingWarn, check, remedy, "it is off by %s", d.skew)
	default:
		d.say(FindingOK, check, "", "it agrees with %d others", d.asked)
	}
}

// publicURL asks as a relying party does.
func (d *doctor) publicURL(ctx context.Context, org *agentidp.Organization) {
	const check = "public URL"
	var metadata struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if err := d.get(ctx, org.Issuer+"/.well-known/openid-configuration", &metadata); err != nil {
		d.say(FindingFail, check, "start the server; look at DNS, TLS certificate and proxy from here to it", "%s: %v", org.Issuer, err)
		return
	}
	if metadata.Issuer != org.Issuer {
		d.say(FindingFail, check, "give the server its public URL (AGENTIDP_PUBLIC_URL), or send this one to it", "%s answers as issuer %q", org.Issuer, metadata.Issuer)
		return
	}
	var set struct {
		Keys []struct {
			ID string `json:"kid"`
		} `json:"keys"`
	}
	if err := d.get(ctx, org.Issuer+"/.well-known/jwks.json", &set); err != nil {
		d.say(FindingFail, check, "look at the proxy: it must let /.well-known/ through", "%s: the key set: %v", org.Issuer, err)
		return
	}
	kid := d.signers[org.Slug]
	has := func(k struct {
		ID string `json:"kid"`
	},
	) bool {
		return k.ID == kid
	}
	if kid != "" && !slices.ContainsFunc(set.Keys, has) {
		d.say(FindingFail, check, "another installation answers there, or a cache that ignores Cache-Control", "%s: the key set does not hold %s, which signs", org.Issuer, kid)
		return
	}
	d.say(FindingOK, check, "", "%s answers with its issuer and its keys", org.Issuer)
}

// issuers asks everyone whose subject tokens are taken for its keys, as the server does:
// where organizations send it, it goes under the same guard. The operator's own issuer
// is also asked for the time.
func (d *doctor) issuers(ctx context.Context) {
	kinds, err := providers.Kinds()
	if err != nil {
		d.say(FindingFail, "issuers", "", "%v", err)
		return
	}
	all := []agentidp.Provider{*providers.GitHub(kinds["github"], d.Config.GitHubIssuer)}
	for i := range d.orgs {
		registered, err := d.app.db.Providers(ctx, d.orgs[i].ID, "", doctorAsks)
		if err != nil {
			d.say(FindingFail, "issuers", "", "%v", err)
			return
		}
		all = append(all, registered...)
	}
	verifier := d.app.newVerifier(kinds)
	defer verifier.Close()
	asked := map[string]bool{}
	for i := range all {
		address := all[i].JWKSURI
		if address == "" || asked[address] || len(asked) == doctorAsks {
			continue
		}
		asked[address] = true
		if i == 0 {
			_ = d.get(ctx, address, nil) // whether it answers is asked next
		}
		keys, err := d.goodKeys(ctx, verifier, address, all[i].Algorithms)
		if err != nil {
			d.say(FindingFail, "issuer "+all[i].Name, "without its keys every exchange is answered 503 once those that are known are a day old; let the server reach it", "%s: %v", address, reason(err))
			continue
		}
		d.say(FindingOK, "issuer "+all[i].Name, "", "%s: %s", all[i].Issuer, counted(keys, "key"))
	}
}

func (d *doctor) goodKeys(ctx context.Context, v *verify.Verifier, address string, algorithms []string) (good int, err error) {
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	reports, err := v.FetchKeys(ctx, address, algorithms)
	if err != nil {
		return 0, err
	}
	for _, r := range reports {
		if r.Problem == "" {
			good++
		}
	}
	if good == 0 {
		return 0, fmt.Errorf("%s holds no key that tokens could be verified with", address)
	}
	return good, nil
}

// get reads a document (into nil: only the clock), and the clock of whoever sent it. It follows no redirect, as
// the server does not, and asks in the clear only for this machine's development.
func (d *doctor) get(ctx context.Context, address string, into any) error {
	if !strings.HasPrefix(address, "https://") && !strings.HasPrefix(d.Config.PublicURL, "http://") && !d.Config.Dev {
		return fmt.Errorf("%s is not https", address)
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "agentidp doctor")
	client := &http.Client{Transport: d.HTTP, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	began := d.clock()
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was read or given up
	d.compare(resp.Header, began, d.clock())
	if into == nil {
		return nil
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", address, resp.Status)
	}
	doc, err := io.ReadAll(io.LimitReader(resp.Body, doctorBody))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(doc, into); err != nil {
		return fmt.Errorf("%s answers with something else than a JSON document", address)
	}
	return nil
}

// compare notes how far our clock is from another's, which tells whole seconds. It was
// read between two instants of ours.
func (d *doctor) compare(h http.Header, began, ended time.Time) {
	theirs, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	d.asked++
	var skew time.Duration
	switch { // positive: ours is ahead
	case began.After(theirs.Add(time.Second)):
		skew = began.Sub(theirs.Add(time.Second))
	case ended.Before(theirs):
		skew = ended.Sub(theirs)
	}
	if skew.Abs() > d.skew.Abs() {
		d.skew = skew.Round(time.Second)
	}
}

// reason is what stood in the way of a request, without what is said of it elsewhere.
func reason(err error) error {
	if cause := errors.Unwrap(agentidp.AsError(err)); cause != nil {
		err = cause
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
