package verify

import (
	"fmt"
	"slices"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/strictjson"
)

// Pasted are the claims of a token as somebody says that they are: for what is told about
// decisions, never for one.
type Pasted struct {
	Issuer string // "": they name none
	token  *Unverified
}

// Paste reads a JSON object as the claims of a token. Errors: Invalid.
func Paste(payload []byte) (*Pasted, error) {
	u := &Unverified{members: make([]member, 0, usualClaims)}
	err := strictjson.Members(payload, claimsDepth, func(name string, value []byte) error {
		u.members = append(u.members, member{name, value})
		return nil
	})
	if err != nil {
		return nil, agentidp.InvalidFields(agentidp.FieldError{Field: "claims", Reason: "are not one JSON object without repeated names: " + err.Error()})
	}
	if iss := u.member("iss"); iss != nil {
		if u.Issuer, err = text(iss); err != nil || u.Issuer == "" {
			return nil, agentidp.InvalidFields(agentidp.FieldError{Field: "claims.iss", Reason: "is empty, or " + errText.Error()})
		}
	}
	return &Pasted{u.Issuer, u}, nil
}

// ReadClaims reads a JSON object as the claims of a provider's token, by the same rules as
// those of a proven one: for what is told about decisions, never for one. There may be no
// jti, and no ReplayKey is set. Errors: Invalid, with each bad claim in Details.
func (v *Verifier) ReadClaims(p *agentidp.Provider, payload []byte) (*agentidp.Claims, error) {
	pasted, err := Paste(payload)
	if err != nil {
		return nil, err
	}
	return v.readPasted(p, pasted)
}

func (v *Verifier) readPasted(p *agentidp.Provider, pasted *Pasted) (*agentidp.Claims, error) {
	k := v.kinds[p.Kind]
	if k == nil {
		return nil, fmt.Errorf("provider %s is of kind %q, which is not known", p.Name, p.Kind)
	}
	c, bad := k.fields(p, pasted.token)
	jti := k.ClaimNames[agentidp.ClaimTokenID]
	bad = slices.DeleteFunc(bad, func(e agentidp.FieldError) bool { return e.Field == jti && pasted.token.member(jti) == nil })
	for i := range bad {
		bad[i].Field = "claims." + bad[i].Field
	}
	if len(bad) > 0 {
		return nil, agentidp.InvalidFields(bad...)
	}
	return c, nil
}

// Suppose reads claims as ReadClaims does, and holds those that say by whom, for whom and
// when their token was issued as Verify would, as far as they are there; unseen are those
// of aud, exp and iat that are not. As with Verify, an error beside claims is invalid_token
// with its Reason. Their IssuedAt is zero where there is no iat.
func (v *Verifier) Suppose(org *agentidp.Organization, p *agentidp.Provider, pasted *Pasted) (c *agentidp.Claims, unseen []string, err error) {
	c, err = v.readPasted(p, pasted)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range []string{"aud", "exp", "iat"} {
		if pasted.token.member(name) == nil {
			unseen = append(unseen, name)
		}
	}
	if pasted.Issuer != "" && pasted.Issuer != p.Issuer {
		return c, unseen, refuse(ReasonIssuer, fmt.Errorf("the claims have the iss %.200q, and the issuer of provider %s is %q", pasted.Issuer, p.Name, p.Issuer))
	}
	if !slices.Contains(unseen, "aud") {
		if err := checkAudience(org, p, pasted.token, c); err != nil {
			return c, unseen, err
		}
	}
	return c, unseen, v.supposeTimes(p, pasted.token, c, unseen)
}

// supposeTimes is checkTimes for claims of which exp or iat may be absent. The one that is
// gets the value with which the token could be good, if there is one.
func (v *Verifier) supposeTimes(p *agentidp.Provider, u *Unverified, c *agentidp.Claims, unseen []string) error {
	k := v.kinds[p.Kind]
	noExp, noIat := slices.Contains(unseen, "exp"), slices.Contains(unseen, "iat")
	switch {
	case noExp && noIat:
		return nil
	case !noExp && !noIat:
		return checkTimes(v.now(), p, k, u, c)
	}
	name := "exp"
	if noExp {
		name = "iat"
	}
	known, err := date(u.member(name))
	if err != nil {
		return claimInvalid([]agentidp.FieldError{{Field: name, Reason: err.Error()}})
	}
	longest := k.longest(p)
	d := dates{exp: known, iat: known - int64(longest/time.Second)}
	if noExp {
		d = dates{exp: known + int64(longest/time.Second), iat: known}
		c.IssuedAt = time.Unix(known, 0).UTC()
	}
	d.nbf = d.iat
	return d.check(v.now(), p, longest)
}
