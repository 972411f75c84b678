package agentidp

import "time"

// ClockSkew is how far apart the clock of whoever signs for a request and ours may be.
const ClockSkew = 60 * time.Second

// The schemes by which an access token is presented (RFC 6750 §2.1, RFC 9449 §7.1), and
// the token types of the same names.
const (
	SchemeBearer = "Bearer"
	SchemeDPoP   = "DPoP"
)

// ProofAlgorithms are those with which a DPoP proof may be signed, in the order of our
// liking. All are asymmetric. Ed25519 is the other name of EdDSA (RFC 9864); there is no
// other curve here.
var ProofAlgorithms = []string{"ES256", "ES384", "RS256", "EdDSA", "Ed25519"}

// Proof is a DPoP proof that was checked (RFC 9449 §4.3): whoever sent the request has
// the private key. It was not looked up whether the proof was used before.
type Proof struct {
	Thumbprint string    // jkt: the RFC 7638 thumbprint of the key
	ID         string    // of the proof: SHA-256 of its jti, base64url
	Until      time.Time // from then on it is refused for its age
}

// InvalidProof returns the Invalid error of a proof that is not good for its request, for
// a reason that begins with what is wrong with it.
func InvalidProof(reason string) *Error {
	return &Error{Kind: Invalid, Code: CodeInvalidDPoPProof, Message: "The DPoP proof is not good for this request: " + reason + ".",
		Details: []FieldError{{Field: "DPoP", Reason: reason}}}
}

// UsedProof returns the Invalid error of a proof that was used before.
func UsedProof() *Error {
	return InvalidProof("it was used before; make a fresh one, with a jti of its own, for each request")
}

// Actor is the claim act (RFC 8693 §4.1): who acts for the subject, and who did so
// before, the latest first.
type Actor struct {
	Subject string `json:"sub"`
	Actor   *Actor `json:"act,omitempty"`
}
