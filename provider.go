package agentidp

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
)

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
	UpdatedAt      time.Time
}

// ProviderSpec is what an administrator says of a provider. The fields "name", "kind"
// and "issuer" cannot change after registration.
type ProviderSpec struct {
	Name               string          `json:"name" minLength:"1" doc:"Unique in the organization; policies name it. Lower-case letters, digits and inner hyphens." example:"ghes"`
	Kind               string          `json:"kind,omitempty" minLength:"1" doc:"What its tokens look like: github for GitHub Enterprise Server, enterprise slugs and ghe.com. Default oidc." example:"github"`
	Issuer             string          `json:"issuer" minLength:"1" doc:"The tokens' iss, compared byte for byte; https." example:"https://github.acme.example/_services/token"`
	Audiences          []string        `json:"audiences,omitempty" minItems:"1" doc:"Accepted beside the organization's issuer URL. Only admin may set them. Absent: none." example:"[\"sts.acme.example\"]"`
	Algorithms         []string        `json:"algorithms,omitempty" minItems:"1" doc:"Signature algorithms that are accepted. Only admin may set others than the kind's, which are the default." example:"[\"RS256\"]"`
	JWKSURI            string          `json:"jwksUri,omitempty" minLength:"1" doc:"Where its keys are fetched. Absent: the address of the kind, or the one that the issuer's discovery document names when the provider is saved. Only admin may set another." example:"https://github.acme.example/_services/token/.well-known/jwks"`
	JWKS               json.RawMessage `json:"jwks,omitempty" doc:"Its keys themselves, as a JWK set (RFC 7517) of public keys, in place of jwksUri. Only admin may set them."`
	MaxTokenAgeSeconds int             `json:"maxTokenAgeSeconds,omitempty" minimum:"60" maximum:"86400" doc:"Longest life of a token, exp - iat. Absent: the kind's. Only admin may raise it." example:"3600"`
	Replay             ReplayRule      `json:"replay,omitempty" enum:"reject,allow" doc:"reject, the default: a token is good for one successful exchange. Only admin may say allow."`
}

// RegisteredProvider is a provider with what the server knows about it. All defaults
// are filled in.
type RegisteredProvider struct {
	ID string `json:"id,omitempty" readOnly:"true" doc:"Assigned by the server; the built-in provider has none."`
	ProviderSpec
	BuiltIn   bool      `json:"builtIn,omitempty" readOnly:"true" doc:"It comes from the server's configuration, is there in every organization, and cannot be changed or deleted."`
	CreatedAt time.Time `json:"createdAt,omitzero" readOnly:"true"`
	UpdatedAt time.Time `json:"updatedAt,omitzero" readOnly:"true"`
	Revision  int64     `json:"revision,omitempty" readOnly:"true" doc:"Counts administrators' changes; the ETag."`
}

// ProviderReport is what a look at a provider found, at the issuer itself and not in
// any cache. It changes nothing.
type ProviderReport struct {
	Provider  string             `json:"provider" doc:"Its name."`
	Usable    bool               `json:"usable" doc:"Whether tokens can be verified: there is a key with an id and an accepted algorithm."`
	Problems  []string           `json:"problems" doc:"What is wrong, in sentences. Where the provider is usable all the same, what will be."`
	Discovery *ProviderDiscovery `json:"discovery,omitempty" doc:"The issuer's discovery document; absent where none is read."`
	JWKSURI   string             `json:"jwksUri,omitempty" doc:"Where the keys were fetched; absent for static keys."`
	Keys      []ProviderKey      `json:"keys" doc:"The keys of the set, those of no use too."`
}

// ProviderDiscovery is what an issuer's discovery document says.
type ProviderDiscovery struct {
	URL     string `json:"url"`
	JWKSURI string `json:"jwksUri,omitempty" doc:"Where it says that the keys are; absent if the document cannot be used."`
}

// ProviderKey is a key of a provider's set.
type ProviderKey struct {
	ID        string `json:"kid,omitempty"`
	Algorithm string `json:"alg,omitempty" doc:"What it is used with; of a key of no use, what it says."`
	Usable    bool   `json:"usable"`
	Problem   string `json:"problem,omitempty" doc:"Why it is of no use."`
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

	// PersonClaims say at some issuers of the kind who started a job, and not what runs:
	// such a claim → where, and what to use instead. A policy may read one, and says so in
	// its warnings.
	PersonClaims map[string]string

	UnsafeClaims  map[string]string        // claims that no policy may rest on → why, and what to use instead
	DefaultEvents []string                 // events that a policy admits when it names none; none: the tokens name no event
	OutsiderEvent map[string]OutsiderEvent // events that others than those who may write to the repository can cause
	EventRefs     map[string]EventRef      // what runs of an event are for; others are for any branch or tag

	// KnownClaims are the claims that the kind's tokens carry, by the provider's names,
	// with who chooses their values; none: they may carry anything. Their values are
	// strings, or are compared as they are spelled.
	KnownClaims map[string]ClaimControl
	// KnownPrefixes begin the names of claims that the issuer's administrators add.
	KnownPrefixes []string
	// RecordedClaims are kept with each decision for a while, by the provider's names.
	RecordedClaims []string
}

// OutsiderEvent is an event that others than those who may write to the repository can
// cause.
type OutsiderEvent struct {
	Why string // it is dangerous: a sentence
	// ForkReachable says that somebody without any right in the repository can start a
	// run whose token is for one of its own branches.
	ForkReachable bool
	How           string // they do it, behind the name of the event: "from a fork"; may be empty
}

// EventRef says what the runs of an event are for.
type EventRef string

// What runs are for where whoever causes them has no choice.
const (
	RefDefaultBranch     EventRef = "default_branch"
	RefTag               EventRef = "tag"
	RefMergeQueue        EventRef = "merge_queue"         // a branch of the queue
	RefPullRequest       EventRef = "pull_request"        // a ref of its own, which is no branch
	RefMergedPullRequest EventRef = "merged_pull_request" // the same, and the branch that it was merged into
)

// ClaimControl says who chooses the value of a claim.
type ClaimControl string

// Who chooses the value of a claim, from the most trustworthy to the least.
const (
	ControlIssuer ClaimControl = "issuer" // the issuer asserts a fact
	ControlOwner  ClaimControl = "owner"  // who administers the repository, the organization or the environment
	ControlWriter ClaimControl = "writer" // who may push a branch or a tag, or edit a workflow there
	ControlAnyone ClaimControl = "anyone" // who opens a pull request, or starts a run again
)

// Knows reports whether a claim is one that the kind's tokens are known to carry, as far
// as that is known of the kind at all.
func (k *ProviderKind) Knows(claim string) bool {
	if len(k.KnownClaims) == 0 {
		return true
	}
	_, known := k.KnownClaims[claim]
	return known || slices.ContainsFunc(k.KnownPrefixes, func(prefix string) bool { return strings.HasPrefix(claim, prefix) })
}

// Has reports whether the kind's tokens carry a claim.
func (k *ProviderKind) Has(c Claim) bool { return k.ClaimNames[c] != "" }
