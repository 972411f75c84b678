package agentidp

import "time"

// Provider is a registered issuer of subject tokens: a CI system or another
// workload identity issuer that one organization trusts.
type Provider struct {
	ID             string   // empty for a provider that comes from the configuration
	OrganizationID string   // empty for a provider that comes from the configuration
	Name           string   // unique in the organization; policies name it
	Kind           string   // name of a ProviderKind
	Issuer         string   // compared with the token's iss byte for byte
	Audiences      []string // accepted beside the organization's issuer URL
	Algorithms     []string // exact JWS alg names; never empty
	JWKSURI        string   // where keys are fetched, or empty with a static JWKS
	JWKS           []byte   // a static key set, or nil
	MaxTokenAge    time.Duration
	Replay         ReplayRule
	Revision       int64
	CreatedAt      time.Time
}

// ReplayRule says whether one subject token may be exchanged more than once.
type ReplayRule string

// ReplayReject, the default, makes every subject token good for one successful
// exchange.
const (
	ReplayReject ReplayRule = "reject"
	ReplayAllow  ReplayRule = "allow"
)

// ProviderKind is what is known about all providers of one kind: which claim
// means what, which must be there, which events are safe. It is data
// (internal/providers/*.yaml), not code.
type ProviderKind struct {
	Name        string
	Issuer      string           // default issuer; empty where each installation has its own
	JWKSPath    string           // appended to the issuer; empty where that has to be asked
	Algorithms  []string         // default allow-list
	MaxTokenAge time.Duration    // longest exp − iat
	ClaimNames  map[Claim]string // our name of a claim → the provider's
	Required    []Claim          // absence is invalid_token

	// IdentityClaims are the provider's names of the claims that tell one workload
	// from every other, now and later. A policy without a repository needs a condition
	// on one of them.
	IdentityClaims []string

	UnsafeClaims  map[string]string // claims that no policy may rest on → why, and what to use instead
	DefaultEvents []string          // events that a policy admits when it names none; none: the tokens name no event
	OutsiderEvent map[string]string // events that outsiders can cause → why that is dangerous
}

// Has reports whether the kind's tokens carry a claim.
func (k *ProviderKind) Has(c Claim) bool { return k.ClaimNames[c] != "" }
