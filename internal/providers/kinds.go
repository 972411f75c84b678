package providers

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/sentryagent/agentidp"
)

//go:embed *.yaml
var files embed.FS

// Kinds returns what is known about each kind of provider, by name. It is read
// once; callers share it and must not change it.
func Kinds() (map[string]*agentidp.ProviderKind, error) { return kinds() }

var kinds = sync.OnceValues(func() (map[string]*agentidp.ProviderKind, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("list provider kinds: %w", err)
	}
	all := make(map[string]*agentidp.ProviderKind, len(entries))
	for _, entry := range entries {
		data, err := files.ReadFile(entry.Name())
		if err != nil {
			return nil, fmt.Errorf("read provider kind: %w", err)
		}
		kind, err := parseKind(strings.TrimSuffix(entry.Name(), ".yaml"), data)
		if err != nil {
			return nil, fmt.Errorf("read provider kind %s: %w", entry.Name(), err)
		}
		all[kind.Name] = kind
	}
	return all, nil
})

// file is the form of a kind's YAML file.
type file struct {
	Name           string                    `yaml:"name"`
	Issuer         string                    `yaml:"issuer"`
	JWKSPath       string                    `yaml:"jwksPath"`
	Algorithms     []string                  `yaml:"algorithms"`
	MaxTokenAge    time.Duration             `yaml:"maxTokenAge"`
	Claims         map[agentidp.Claim]string `yaml:"claims"`
	Required       []agentidp.Claim          `yaml:"required"`
	IdentityClaims []string                  `yaml:"identityClaims"`
	UnsafeClaims   map[string]string         `yaml:"unsafeClaims"`
	PersonClaims   map[string]string         `yaml:"personClaims"`
	DefaultEvents  []string                  `yaml:"defaultEvents"`
	OutsiderEvents map[string]outsiderEvent  `yaml:"outsiderEvents"`

	EventRefs      map[string]agentidp.EventRef     `yaml:"eventRefs"`
	KnownClaims    map[string]agentidp.ClaimControl `yaml:"knownClaims"`
	KnownPrefixes  []string                         `yaml:"knownPrefixes"`
	RecordedClaims []string                         `yaml:"recordedClaims"`
}

type outsiderEvent struct {
	ForkReachable bool   `yaml:"forkReachable"`
	How           string `yaml:"how"`
	Why           string `yaml:"why"`
}

// parseKind reads one file; name is what the file is called.
func parseKind(name string, data []byte) (*agentidp.ProviderKind, error) {
	var f file
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil {
		return nil, err
	}
	if err := f.check(name); err != nil {
		return nil, err
	}
	return &agentidp.ProviderKind{
		Name: f.Name, Issuer: f.Issuer, JWKSPath: f.JWKSPath, Algorithms: f.Algorithms,
		MaxTokenAge: f.MaxTokenAge, ClaimNames: f.Claims, Required: f.Required,
		IdentityClaims: f.IdentityClaims, UnsafeClaims: f.UnsafeClaims, PersonClaims: f.PersonClaims,
		DefaultEvents: f.DefaultEvents, OutsiderEvent: f.outsiderEvents(), EventRefs: f.EventRefs,
		KnownClaims: f.KnownClaims, KnownPrefixes: f.KnownPrefixes, RecordedClaims: f.RecordedClaims,
	}, nil
}

func (f *file) outsiderEvents() map[string]agentidp.OutsiderEvent {
	events := make(map[string]agentidp.OutsiderEvent, len(f.OutsiderEvents))
	for name, e := range f.OutsiderEvents {
		events[name] = agentidp.OutsiderEvent{Why: e.Why, ForkReachable: e.ForkReachable, How: e.How}
	}
	return events
}

// check returns everything that is wrong with the file.
func (f *file) check(name string) error {
	var errs []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	require(f.Name == name, "name: %q is not the file's name", f.Name)
	require(f.Issuer == "" || isIssuer(f.Issuer), "issuer: %q is not an https URL without query, fragment and trailing slash", f.Issuer)
	require(f.JWKSPath == "" || strings.HasPrefix(f.JWKSPath, "/"), "jwksPath: %q does not begin with a slash", f.JWKSPath)
	require(f.Issuer == "" || f.JWKSPath != "", "jwksPath: none, where there is a default issuer")
	require(len(f.Algorithms) > 0 && !slices.Contains(f.Algorithms, ""), "algorithms: none, or an empty one")
	require(f.MaxTokenAge > 0, "maxTokenAge: %s is not positive", f.MaxTokenAge)
	errs = append(errs, f.checkClaims()...)
	errs = append(errs, f.checkConditions()...)
	hasEvents := f.Claims[agentidp.ClaimEvent] != ""
	require(hasEvents == (len(f.DefaultEvents) > 0), "defaultEvents: there must be some if and only if the claims have an event")
	require(!slices.Contains(f.DefaultEvents, ""), "defaultEvents: an empty one")
	require(hasEvents || len(f.OutsiderEvents) == 0, "outsiderEvents: the claims have no event")
	for event, e := range f.OutsiderEvents {
		require(event != "" && e.Why != "", "outsiderEvents: %q says not why", event)
		require(!slices.Contains(f.DefaultEvents, event), "outsiderEvents: %q is a default event", event)
	}
	require(hasEvents || len(f.EventRefs) == 0, "eventRefs: the claims have no event")
	refs := []agentidp.EventRef{agentidp.RefDefaultBranch, agentidp.RefTag, agentidp.RefMergeQueue, agentidp.RefPullRequest, agentidp.RefMergedPullRequest}
	for event, ref := range f.EventRefs {
		require(event != "" && slices.Contains(refs, ref), "eventRefs: %q of %q is none of %v", ref, event, refs)
	}
	return errors.Join(errs...)
}

// reserved claims are read by the verifier itself, whatever the provider.
var reserved = []string{"iss", "aud", "exp", "iat", "nbf", "sub"}

func (f *file) checkClaims() (errs []error) {
	ours := map[string]agentidp.Claim{}
	for claim, theirs := range f.Claims {
		switch {
		case new(agentidp.Claims).Field(claim) == nil:
			errs = append(errs, fmt.Errorf("claims: %q is no claim that AgentIdP knows", claim))
		case theirs == "" || slices.Contains(reserved, theirs):
			errs = append(errs, fmt.Errorf("claims: %s cannot be read from %q", claim, theirs))
		case ours[theirs] != "":
			errs = append(errs, fmt.Errorf("claims: %q is both %s and %s", theirs, ours[theirs], claim))
		}
		ours[theirs] = claim
	}
	for _, claim := range f.Required {
		if f.Claims[claim] == "" {
			errs = append(errs, fmt.Errorf("required: %q is not among the claims", claim))
		}
	}
	return errs
}

// checkConditions checks what is said of conditions on claims.
func (f *file) checkConditions() (errs []error) {
	if len(f.IdentityClaims) == 0 {
		errs = append(errs, errors.New("identityClaims: none"))
	}
	for i, name := range f.IdentityClaims {
		switch {
		case name == "" || name != "sub" && slices.Contains(reserved, name):
			errs = append(errs, fmt.Errorf("identityClaims: %q identifies nobody", name))
		case slices.Contains(f.IdentityClaims[:i], name):
			errs = append(errs, fmt.Errorf("identityClaims: %q stands there twice", name))
		case f.UnsafeClaims[name] != "" || f.PersonClaims[name] != "":
			errs = append(errs, fmt.Errorf("identityClaims: %q is unsafe, or a person's", name))
		}
	}
	for name, why := range f.UnsafeClaims {
		if name == "" || why == "" {
			errs = append(errs, fmt.Errorf("unsafeClaims: %q says not why", name))
		}
	}
	for name, why := range f.PersonClaims {
		if name == "" || why == "" || f.UnsafeClaims[name] != "" {
			errs = append(errs, fmt.Errorf("personClaims: %q says not why, or is among the unsafeClaims", name))
		}
	}
	return append(errs, f.checkKnown()...)
}

// checkKnown checks what is said of all claims that there are.
func (f *file) checkKnown() (errs []error) {
	controls := []agentidp.ClaimControl{agentidp.ControlIssuer, agentidp.ControlOwner, agentidp.ControlWriter, agentidp.ControlAnyone}
	for name, control := range f.KnownClaims {
		if name == "" || !slices.Contains(controls, control) {
			errs = append(errs, fmt.Errorf("knownClaims: %q of %q is none of %v", control, name, controls))
		}
	}
	known := func(list string, names ...string) {
		for _, name := range names {
			if _, ok := f.KnownClaims[name]; !ok && len(f.KnownClaims) > 0 {
				errs = append(errs, fmt.Errorf("%s: %q is not among the knownClaims", list, name))
			}
		}
	}
	for _, theirs := range f.Claims {
		known("claims", theirs)
	}
	known("identityClaims", f.IdentityClaims...)
	known("unsafeClaims", slices.Collect(maps.Keys(f.UnsafeClaims))...)
	known("personClaims", slices.Collect(maps.Keys(f.PersonClaims))...)
	known("recordedClaims", f.RecordedClaims...)
	if slices.Contains(f.KnownPrefixes, "") {
		errs = append(errs, errors.New("knownPrefixes: an empty one"))
	}
	return errs
}

func isIssuer(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil &&
		!strings.ContainsAny(s, "?#") && !strings.HasSuffix(s, "/")
}
