package agentidp

import "time"

// Claim is AgentIdP's name for a claim of a subject token, the same for all
// providers. A ProviderKind maps it to the provider's own name.
type Claim string

// The claims that AgentIdP reads. The subject (sub) is not among them: GitHub
// alone has three forms of it, and none is a safe key. Where it is one, the
// ProviderKind says so.
const (
	ClaimRepository        Claim = "repository"
	ClaimRepositoryID      Claim = "repository_id"
	ClaimRepositoryOwnerID Claim = "repository_owner_id"
	ClaimRef               Claim = "ref"
	ClaimRefType           Claim = "ref_type"
	ClaimEvent             Claim = "event"
	ClaimEnvironment       Claim = "environment"
	ClaimSHA               Claim = "sha"
	ClaimWorkflowRef       Claim = "workflow_ref"
	ClaimJobWorkflowRef    Claim = "job_workflow_ref"
	ClaimRunID             Claim = "run_id"
	ClaimRunAttempt        Claim = "run_attempt"
	ClaimActor             Claim = "actor"
	ClaimTokenID           Claim = "jti"
)

// Claims are the claims of one subject token after its signature, issuer,
// audience and times were verified. An absent claim is the empty string.
type Claims struct {
	Provider string // the provider's name, not a claim
	Issuer   string
	Audience string

	// ReplayKey identifies the token for single use: its jti, or SHA-256 of the
	// signing input where the provider sends none. It never depends on the
	// signature bytes, which have more than one valid spelling.
	ReplayKey string
	IssuedAt  time.Time
	ExpiresAt time.Time

	Repository        string
	RepositoryID      string
	RepositoryOwnerID string
	Ref               string
	RefType           string
	Event             string
	Environment       string
	SHA               string
	WorkflowRef       string
	JobWorkflowRef    string
	RunID             string
	RunAttempt        string
	Actor             string
	TokenID           string

	// Subject is sub, of kinds of provider whose tokens it identifies; else empty.
	Subject string
	Kind    *ProviderKind // the provider's; nil: nothing is known of it
	// Source reads any claim; nil: there is none.
	Source ClaimSource
}

// ClaimSource reads the claims of a proven token by the provider's own names, exact
// in every byte, when somebody asks: most exchanges ask for none.
type ClaimSource interface {
	// ReadClaim returns the text of a claim by which it is compared: a string as it
	// is; a number, true or false as the token spells it. ok is false where the claim
	// is absent, null, an object or an array, or text that nothing may be compared with.
	ReadClaim(name string) (value string, ok bool)
	// ReadJSON returns a claim as JSON, as the token spells it, which the caller must
	// not change; nil where it is absent.
	ReadJSON(name string) []byte
}

// Read is ReadClaim of the source.
func (c *Claims) Read(name string) (value string, ok bool) {
	if c.Source == nil {
		return "", false
	}
	return c.Source.ReadClaim(name)
}

// ReadJSON is ReadJSON of the source.
func (c *Claims) ReadJSON(name string) []byte {
	if c.Source == nil {
		return nil
	}
	return c.Source.ReadJSON(name)
}

// Field returns the place in c where the value of a claim belongs, or nil for
// a name that is none of the Claim constants.
func (c *Claims) Field(name Claim) *string {
	switch name {
	case ClaimRepository:
		return &c.Repository
	case ClaimRepositoryID:
		return &c.RepositoryID
	case ClaimRepositoryOwnerID:
		return &c.RepositoryOwnerID
	case ClaimRef:
		return &c.Ref
	case ClaimRefType:
		return &c.RefType
	case ClaimEvent:
		return &c.Event
	case ClaimEnvironment:
		return &c.Environment
	case ClaimSHA:
		return &c.SHA
	case ClaimWorkflowRef:
		return &c.WorkflowRef
	case ClaimJobWorkflowRef:
		return &c.JobWorkflowRef
	case ClaimRunID:
		return &c.RunID
	case ClaimRunAttempt:
		return &c.RunAttempt
	case ClaimActor:
		return &c.Actor
	case ClaimTokenID:
		return &c.TokenID
	}
	return nil
}

// Workload is where a subject token came from. Access tokens carry it as the
// claim "workload", so that a resource server sees which run it serves.
type Workload struct {
	Provider     string `json:"provider"`
	Repository   string `json:"repository,omitempty"`
	RepositoryID string `json:"repository_id,omitempty"`
	Ref          string `json:"ref,omitempty"`
	SHA          string `json:"sha,omitempty"`
	WorkflowRef  string `json:"workflow_ref,omitempty"`
	Event        string `json:"event,omitempty"`
	RunID        string `json:"run_id,omitempty"`
	RunAttempt   string `json:"run_attempt,omitempty"`
	Actor        string `json:"actor,omitempty"`
	Subject      string `json:"subject,omitempty"` // the subject token's, where that identifies the workload
}

// Workload returns the part of the claims that an access token repeats.
func (c *Claims) Workload() *Workload {
	return &Workload{
		Provider: c.Provider, Repository: c.Repository, RepositoryID: c.RepositoryID,
		Ref: c.Ref, SHA: c.SHA, WorkflowRef: c.WorkflowRef, Event: c.Event,
		RunID: c.RunID, RunAttempt: c.RunAttempt, Actor: c.Actor,
		Subject: c.Subject,
	}
}

// FoldRepository returns the key under which a repository name is compared.
// GitHub compares names without regard to ASCII case and to nothing else:
// Unicode folding would make "K" (KELVIN SIGN) equal to "k".
func FoldRepository(name string) string { return foldASCII(name) }

func foldASCII(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			b := []byte(s)
			for j := i; j < len(b); j++ {
				if 'A' <= b[j] && b[j] <= 'Z' {
					b[j] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}
