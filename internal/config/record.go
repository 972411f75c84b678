package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sentryagent/agentidp/internal/nearest"
	"github.com/sentryagent/agentidp/internal/providers"
)

// maxClaimName bounds the name of a claim, in bytes, as policies do.
const maxClaimName = 255

// unrecorded are the claims that say nothing about whom a token is for: they are another
// in every token, or the same in all.
var unrecorded = []string{"iss", "aud", "exp", "iat", "nbf", "jti"}

// Recorded returns the claims of RecordClaims, by the name of their provider.
func (c *Config) Recorded() (map[string][]string, error) {
	kinds, err := providers.Kinds()
	if err != nil {
		return nil, err
	}
	recorded := map[string][]string{}
	var errs []error
	for _, entry := range c.RecordClaims {
		wrong := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("record-claims (AGENTIDP_RECORD_CLAIMS): %q %s", entry, fmt.Sprintf(format, args...)))
		}
		provider, claim, ok := strings.Cut(strings.TrimSpace(entry), ":")
		kind := kinds[provider] // the built-in provider is called as its kind
		switch {
		case !ok || provider == "" || !claimName(claim):
			wrong("is not PROVIDER:CLAIM, such as cluster:kubernetes.io; several are separated by commas")
		case slices.Contains(unrecorded, claim):
			wrong("is never kept: no policy can read it; leave it out")
		case kind != nil && !kind.Knows(claim):
			wrong("is none of the claims of %s%s", provider, meant(claim, slices.Sorted(maps.Keys(kind.KnownClaims))))
		case slices.Contains(recorded[provider], claim):
			wrong("stands there twice")
		}
		recorded[provider] = append(recorded[provider], claim)
	}
	return recorded, errors.Join(errs...)
}

func meant(name string, known []string) string {
	n, ok := nearest.Name(name, known)
	if !ok {
		return "; write it as its tokens spell it"
	}
	return "; did you mean " + n + "?"
}

// claimName reports whether a name can be one that is recorded: what cannot be printed
// is in no claim that anybody means.
func claimName(name string) bool {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	return name != "" && len(name) <= maxClaimName && utf8.ValidString(name) && !strings.ContainsFunc(name, unprintable)
}

func (c *Config) checkRecorded() error {
	_, err := c.Recorded()
	if err == nil && c.KeepClaims == 0 && len(c.RecordClaims) > 0 {
		return errors.New("record-claims (AGENTIDP_RECORD_CLAIMS): keep-claims (AGENTIDP_KEEP_CLAIMS) is 0, so none are kept; leave one of them out")
	}
	return err
}
