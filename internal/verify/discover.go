package verify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/strictjson"
)

// Names of fields in the errors of this file, as the management API has them.
const (
	fieldIssuer  = "issuer"
	fieldJWKSURI = "jwksUri"
)

// CheckIssuer says what is wrong with an issuer of which keys or a discovery document
// are to be fetched, in words that follow the name of the field. It asks nobody.
func (v *Verifier) CheckIssuer(issuer string) error {
	if strings.Contains(issuer, "?") { // OpenID Connect Discovery 1.0 §3
		return errors.New("has a query, which no issuer has; leave out the ? and what follows")
	}
	return v.fetcher.guard.check(issuer)
}

// CheckAddress says what is wrong with an address of keys, in words that follow the
// name of the field. It asks nobody; what the host's name leads to is checked whenever
// keys are fetched, and so is all that is checked here.
func (v *Verifier) CheckAddress(address string) error { return v.fetcher.guard.check(address) }

// Discovery is what an issuer's discovery document says, as far as it is read here.
type Discovery struct {
	Issuer     string
	JWKSURI    string
	Algorithms []string // id_token_signing_alg_values_supported, those that are supported here
}

// Discover fetches an issuer's discovery document (OpenID Connect Discovery 1.0 §4),
// now and under guard. The document's issuer is the one asked for, byte for byte.
//
// Its jwks_uri is on the same host and port, or on a host that the operator listed:
// whoever can change the document cannot move the keys elsewhere. If it is not, the
// error is about jwksUri and the document is returned beside it, for a caller who was
// given another address of keys.
//
// Errors: Invalid with the field issuer or jwksUri; TooMany; Unavailable
// (issuer_unreachable). They say what went wrong, and nothing that was received but
// addresses that passed the check.
func (v *Verifier) Discover(ctx context.Context, issuer string) (*Discovery, error) {
	if err := v.CheckIssuer(issuer); err != nil {
		return nil, agentidp.InvalidFields(agentidp.FieldError{Field: fieldIssuer, Reason: err.Error()})
	}
	// §4.1: a slash at the end of the issuer is left out, and stays in its name.
	address := strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
	body, err := v.probe(ctx, fieldIssuer, address)
	if err != nil {
		return nil, err
	}
	d, err := parseDiscovery(body)
	switch {
	case err != nil:
		return nil, fieldError(fieldIssuer, "has a discovery document that cannot be used: "+err.Error()+"; see "+address, nil)
	case d.Issuer != issuer: // not shown: what a document says is somebody else's text
		return nil, fieldError(fieldIssuer, "is not the issuer that its discovery document names; they must be equal to the byte, also in a slash at the end. See "+address, nil)
	}
	if err := v.checkMoved(issuer, d.JWKSURI); err != nil {
		return d, fieldError(fieldJWKSURI, err.Error(), nil)
	}
	return d, nil
}

// checkMoved refuses keys that a discovery document has elsewhere.
func (v *Verifier) checkMoved(issuer, keys string) error {
	if err := v.CheckAddress(keys); err != nil {
		return fmt.Errorf("(of the issuer's discovery document) %w", err)
	}
	from, err := url.Parse(issuer)
	if err != nil {
		return err
	}
	to, err := url.Parse(keys)
	if err != nil {
		return err
	}
	same := hostOf(from) == hostOf(to) && portOf(from) == portOf(to) && (from.Scheme == to.Scheme || to.Scheme == "https")
	if same || v.fetcher.guard.isListed(hostOf(to), portOf(to)) {
		return nil
	}
	return fmt.Errorf("(of the issuer's discovery document) is on another host, %s; if the issuer's own documentation says so too, give %s as jwksUri", to.Host, keys)
}

// discoveryDepth bounds nesting of members that are ignored.
const discoveryDepth = 16

func parseDiscovery(body []byte) (*Discovery, error) {
	d := &Discovery{}
	err := strictjson.Members(body, discoveryDepth, func(name string, value []byte) (err error) {
		switch name {
		case "issuer":
			d.Issuer, err = text(value)
		case "jwks_uri":
			d.JWKSURI, err = text(value)
		case "id_token_signing_alg_values_supported":
			d.Algorithms, err = supported(value)
		}
		if err != nil {
			return fmt.Errorf("%s %w", name, err)
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, err
	case d.Issuer == "":
		return nil, errors.New("issuer is missing")
	case d.JWKSURI == "":
		return nil, errors.New("jwks_uri is missing")
	}
	return d, nil
}

// supported returns those algorithms of a list that this program verifies with.
func supported(value []byte) ([]string, error) {
	var list []string
	err := strictjson.Elements(value, 1, func(element []byte) error {
		alg, err := text(element)
		if slices.Contains(jose.Algorithms, alg) && !slices.Contains(list, alg) {
			list = append(list, alg)
		}
		return err
	})
	if err != nil {
		return nil, errors.New("is not a list of names")
	}
	return list, nil
}

// probe fetches for an administrator, who is told what went wrong.
func (v *Verifier) probe(ctx context.Context, field, address string) ([]byte, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	leave, err := v.probes.enter(hostOf(u))
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	body, err := v.fetcher.fetch(ctx, address)
	if err != nil {
		return nil, explain(field, address, err)
	}
	return body, nil
}

func fieldError(field, reason string, cause error) *agentidp.Error {
	return agentidp.InvalidFields(agentidp.FieldError{Field: field, Reason: reason}).WithCause(cause)
}

// explain turns the error of a fetch into one for whoever named the address: Invalid
// where the same request would fail again, Unavailable where it may not.
func explain(field, address string, err error) *agentidp.Error {
	if e, ok := errors.AsType[*addressFault](err); ok { // of what was made of an issuer
		return fieldError(field, e.error.Error(), nil)
	}
	if e, ok := errors.AsType[*addressError](err); ok {
		return fieldError(field, e.reason(), err)
	}
	status, answered := errors.AsType[statusError](err)
	switch {
	case answered && status.redirect():
		return fieldError(field, fmt.Sprintf("leads to %s, which answers %d; redirects are not followed, so give the address that it leads to", address, int(status)), err)
	case answered && status >= 400 && status < 500 && status != 408 && status != 429:
		return fieldError(field, fmt.Sprintf("leads to %s, which answers %d; see whether it is right", address, int(status)), err)
	}
	e := agentidp.NewError(agentidp.Unavailable, agentidp.CodeIssuerUnreachable,
		fmt.Sprintf("Nothing can be fetched from %s: %s.", address, symptom(err)))
	e.RetryAfter = retryInterval
	return e.WithCause(err)
}

// symptom says why a request failed, without any word of whoever answered.
func symptom(err error) string {
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
		return "there is no such host"
	}
	if status, ok := errors.AsType[statusError](err); ok {
		return status.Error()
	}
	if s := untrusted(err); s != "" {
		return s
	}
	switch {
	case errors.Is(err, errTooLong):
		return errTooLong.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("there was no whole answer within %s", fetchTimeout)
	}
	return "there was no answer that could be read. The server's log has more"
}

// untrusted says what is wrong with a host's TLS, or nothing.
func untrusted(err error) string {
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return "its certificate has expired or is not yet valid"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return "its certificate is for another host"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "its certificate is not from an authority that this server trusts"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "it does not speak TLS"
	}
	return ""
}
