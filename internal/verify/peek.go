package verify

import (
	"errors"
	"fmt"
	"unicode"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/strictjson"
)

// maxToken bounds a subject token. GitHub's have about 2 KB, more where custom
// properties are in them.
const maxToken = 16 << 10

const (
	// claimsDepth bounds nesting within a claim.
	claimsDepth = 16
	// maxText bounds a claim that is read, in bytes.
	maxText = 1024
	// usualClaims is how many claims there is room for without growing.
	usualClaims = 40
)

// Unverified is a token whose format is right. Nothing in it is proven: Issuer is
// good for looking up a provider by exact comparison, and for nothing else.
type Unverified struct {
	Issuer string

	jws     *jose.JWS
	members []member
}

// member is a claim as it stands in the payload.
type member struct {
	name  string
	value []byte
}

// Peek checks the format of a token and reads its issuer. A token that is too long
// is TooLarge; any other fault is the error that all unacceptable credentials get.
func Peek(raw string) (*Unverified, error) {
	if len(raw) > maxToken {
		e := agentidp.NewError(agentidp.TooLarge, agentidp.CodePayloadTooLarge,
			fmt.Sprintf("The field token is longer than %d bytes. Send one ID token, and nothing else.", maxToken))
		e.Details = []agentidp.FieldError{{Field: "token", Reason: fmt.Sprintf("is longer than %d bytes", maxToken)}}
		return nil, e
	}
	j, err := jose.Parse(raw)
	if err != nil {
		return nil, refuse(reasonFormat, err)
	}
	u := &Unverified{jws: j, members: make([]member, 0, usualClaims)}
	err = strictjson.Members(j.Payload, claimsDepth, func(name string, value []byte) error {
		u.members = append(u.members, member{name, value})
		return nil
	})
	if err != nil {
		return nil, refuse(reasonFormat, fmt.Errorf("read the payload: %w", err))
	}
	if u.Issuer, err = text(u.member("iss")); err != nil || u.Issuer == "" {
		return nil, refuse(reasonFormat, errors.New("iss is missing or not a proper string"))
	}
	return u, nil
}

// member returns the value of a claim by its exact name, or nil.
func (u *Unverified) member(name string) []byte {
	for i := range u.members {
		if u.members[i].name == name {
			return u.members[i].value
		}
	}
	return nil
}

var errText = fmt.Errorf("is not a string of at most %d bytes without control characters", maxText)

// text reads a JSON string that may be compared, stored and shown: not too long,
// and without control characters.
func text(value []byte) (string, error) {
	s, err := strictjson.String(value)
	if err != nil || len(s) > maxText {
		return "", errText
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] >= 0x7f {
			return s, checkRunes(s)
		}
	}
	return s, nil
}

func checkRunes(s string) error {
	for _, r := range s {
		if unicode.IsControl(r) {
			return errText
		}
	}
	return nil
}
