package agentidp

import "time"

// SigningKey describes a key pair that signs an organization's access tokens. It
// holds neither half of it.
type SigningKey struct {
	ID            string           `json:"kid"` // RFC 7638 thumbprint
	Algorithm     string           `json:"alg"`
	Status        SigningKeyStatus `json:"status"`
	CreatedAt     time.Time        `json:"createdAt"`
	SignsFrom     time.Time        `json:"signsFrom,omitzero"`     // zero: since it was made
	SignsUntil    time.Time        `json:"signsUntil,omitzero"`    // zero: no end yet
	RotatesAt     time.Time        `json:"rotatesAt,omitzero"`     // when the server gives it a successor by itself; zero: not scheduled
	LeavesAt      time.Time        `json:"leavesAt,omitzero"`      // the key set, after the last token that it signed; zero: no end yet
	CompromisedAt time.Time        `json:"compromisedAt,omitzero"` // zero: not compromised
}

// SigningKeyStatus says what a key does now.
type SigningKeyStatus string

// The states of a signing key. Pending, signing and verifying ones stand in the
// key set.
const (
	SigningKeyPending     SigningKeyStatus = "pending"     // published, and signs from SignsFrom
	SigningKeySigning     SigningKeyStatus = "signing"     // signs every new token
	SigningKeyVerifying   SigningKeyStatus = "verifying"   // signs no more; its tokens are good
	SigningKeyRetired     SigningKeyStatus = "retired"     // left the key set; no token of it lives
	SigningKeyCompromised SigningKeyStatus = "compromised" // taken out of the key set, with all its tokens
)

// KeyRotation is what became of a request to rotate an organization's keys.
type KeyRotation struct {
	Changed bool        // false: it was so already
	Signing SigningKey  // signs now
	Next    *SigningKey // takes over at its SignsFrom; nil: nobody is to
}
