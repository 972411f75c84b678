package credential

import (
	"crypto"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
)

// claims are those of a good assertion of the desk's agent, with some replaced; nil takes
// one out.
func (d *desk) claims(with map[string]any) []byte {
	d.t.Helper()
	claims := map[string]any{
		"iss": d.agent.AgentID, "sub": d.agent.AgentID, "aud": d.org.Issuer,
		"exp": d.now.Add(time.Minute).Unix(), "iat": d.now.Unix(), "jti": agentidp.NewID(d.now),
	}
	for name, value := range with {
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
	}
	data, err := json.Marshal(claims)
	if err != nil {
		d.t.Fatal(err)
	}
	return data
}

// assertion presents an assertion of the agent, without a client_id beside it.
func (d *desk) assertion(by *jose.Signer, with map[string]any) *Presented {
	d.t.Helper()
	return d.typed(by, "client-authentication+jwt", with)
}

func (d *desk) typed(by *jose.Signer, typ string, with map[string]any) *Presented {
	d.t.Helper()
	compact, err := by.Sign(typ, d.claims(with))
	if err != nil {
		d.t.Fatal(err)
	}
	return &Presented{Assertion: compact, Method: MethodPrivateKeyJWT}
}

// forged presents an assertion with any header, whose signature sign makes.
func (d *desk) forged(header map[string]any, sign func(input string) []byte) *Presented {
	d.t.Helper()
	h, err := json.Marshal(header)
	if err != nil {
		d.t.Fatal(err)
	}
	input := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(d.claims(nil))
	return &Presented{Assertion: input + "." + base64.RawURLEncoding.EncodeToString(sign(input)), Method: MethodPrivateKeyJWT}
}

// by presents a client_id beside an assertion.
func (p *Presented) by(clientID string) *Presented {
	c := *p
	c.ClientID = clientID
	return &c
}

// an assertion is for this server alone, by the client alone, and once.
func TestWhatAnAssertionMustSay(t *testing.T) {
	t.Parallel()
	onEachEngine(t, func(t *testing.T, d *desk) {
		_, signer := d.key(d.agent, jose.ES256)
		issuer, id := d.org.Issuer, d.agent.AgentID
		at := func(after time.Duration) int64 { return d.now.Add(after).Unix() }
		good := d.assertion(signer, nil)
		const aud, second = "aud must be https://idp.example, a string", "is required, another one in every assertion"
		for name, tt := range map[string]struct {
			p   *Presented
			why string
		}{
			"all of it":                             {good, ""},
			"all of it, and the client_id":          {d.assertion(signer, nil).by(id), ""},
			"of type JWT":                           {d.typed(signer, "JWT", nil), ""},
			"for the token endpoint of another":     {d.assertion(signer, map[string]any{"aud": "https://as.other.example/oauth2/token"}), aud},
			"for another server":                    {d.assertion(signer, map[string]any{"aud": "https://as.other.example"}), aud},
			"for another organization":              {d.assertion(signer, map[string]any{"aud": d.foreign.Issuer}), aud},
			"for the token endpoint":                {d.assertion(signer, map[string]any{"aud": issuer + "/oauth2/token"}), aud},
			"for the issuer with a slash":           {d.assertion(signer, map[string]any{"aud": issuer + "/"}), aud},
			"for two":                               {d.assertion(signer, map[string]any{"aud": []string{issuer, "https://as.other.example"}}), aud},
			"for a list of one":                     {d.assertion(signer, map[string]any{"aud": []string{issuer}}), aud},
			"for nobody":                            {d.assertion(signer, map[string]any{"aud": nil}), aud},
			"by another issuer":                     {d.assertion(signer, map[string]any{"iss": d.other.AgentID}), "iss must be the client_id"},
			"by no issuer":                          {d.assertion(signer, map[string]any{"iss": nil}), "iss must be the client_id"},
			"for another client, by its key":        {d.assertion(signer, map[string]any{"sub": d.other.AgentID}), notProven},
			"for no client":                         {d.assertion(signer, map[string]any{"sub": nil}), notProven},
			"beside another client_id":              {d.assertion(signer, nil).by(d.other.AgentID), "sub is another client"},
			"without exp":                           {d.assertion(signer, map[string]any{"exp": nil}), "exp is required"},
			"with an exp that is text":              {d.assertion(signer, map[string]any{"exp": "1800000000"}), "exp is required"},
			"as good as too late":                   {d.assertion(signer, map[string]any{"exp": at(-agentidp.ClockSkew + time.Second)}), ""},
			"too late":                              {d.assertion(signer, map[string]any{"exp": at(-agentidp.ClockSkew)}), "exp has passed"},
			"for as long as may be":                 {d.assertion(signer, map[string]any{"exp": at(maxAssertionLife + agentidp.ClockSkew)}), ""},
			"for too long":                          {d.assertion(signer, map[string]any{"exp": at(maxAssertionLife + agentidp.ClockSkew + time.Second)}), "exp is too far ahead"},
			"until after the year 9999":             {d.assertion(signer, map[string]any{"exp": 253402300800}), "exp is required"},
			"for ever":                              {d.assertion(signer, map[string]any{"exp": 1e300}), "exp is required"},
			"not yet":                               {d.assertion(signer, map[string]any{"nbf": at(agentidp.ClockSkew + time.Second)}), "nbf is not an instant that has passed"},
			"from the future":                       {d.assertion(signer, map[string]any{"iat": at(agentidp.ClockSkew + time.Second)}), "iat is not an instant that has passed"},
			"without iat":                           {d.assertion(signer, map[string]any{"iat": nil}), ""},
			"without jti":                           {d.assertion(signer, map[string]any{"jti": nil}), "jti " + second},
			"with an empty jti":                     {d.assertion(signer, map[string]any{"jti": ""}), "jti " + second},
			"with a jti that is a number":           {d.assertion(signer, map[string]any{"jti": 7}), "jti " + second},
			"over the size":                         {d.assertion(signer, map[string]any{"x": strings.Repeat("x", maxAssertion)}), notProven},
			"of the type of an access token":        {d.typed(signer, "at+jwt", nil), notProven},
			"of the type of a proof of possession":  {d.typed(signer, "dpop+jwt", nil), notProven},
			"of the type of a grant's assertion":    {d.typed(signer, "authorization-grant+jwt", nil), notProven},
			"not a JWT":                             {&Presented{Assertion: "x", Method: MethodPrivateKeyJWT}, notProven},
			"nothing":                               {&Presented{Method: MethodPrivateKeyJWT}, notProven},
			"with a name in another spelling, once": {d.assertion(signer, map[string]any{"Aud": "https://as.other.example"}), ""},
		} {
			got, err := d.Authenticate(t.Context(), d.org, tt.p)
			d.refused(name, got, err, tt.why)
		}
		for name, p := range map[string]*Presented{
			"again": good, "again beside the client_id": good.by(id),
		} {
			_, err := d.Authenticate(t.Context(), d.org, p)
			d.refused(name, nil, err, "jti was used before")
			_, err = d.AuthenticateNow(t.Context(), d.org, p)
			d.refused(name+", now", nil, err, "jti was used before")
		}
		if _, err := d.Authenticate(t.Context(), d.foreign, d.assertion(signer, map[string]any{"aud": d.foreign.Issuer})); err == nil {
			t.Error("a key of another organization")
		}
	})
}

// A-168, RFC 8725: the key decides by which algorithm it is verified, and the client's
// registered keys are the only ones.
func TestWhichKeySignsAnAssertion(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "sqlite:"+filepath.Join(t.TempDir(), "c.db"))
	es256, rs256, stranger := newSigner(t, jose.ES256), newSigner(t, jose.RS256), newSigner(t, jose.ES256)
	private, eddsa := newPair(t, jose.EdDSA)
	named := d.register(d.other, eddsa) // the only one of its agent
	several, third := newPair(t, jose.EdDSA)
	d.register(d.agent, es256, rs256, third)
	public, err := es256.Public().JWK()
	if err != nil {
		t.Fatal(err)
	}
	none := func(string) []byte { return []byte{0} }
	hs256 := func(input string) []byte {
		mac := hmac.New(sha256.New, public)
		mac.Write([]byte(input))
		return mac.Sum(nil)
	}
	headed := func(header string, by *jose.Signer) *Presented { // another header, before the signature of by
		_, rest, _ := strings.Cut(d.assertion(by, nil).Assertion, ".")
		return &Presented{Assertion: base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + rest, Method: MethodPrivateKeyJWT}
	}
	other := map[string]any{"iss": d.other.AgentID, "sub": d.other.AgentID}
	for name, tt := range map[string]struct {
		p   *Presented
		why string
	}{
		"one of its keys":                          {d.assertion(es256, nil), ""},
		"another of its keys":                      {d.assertion(rs256, nil), ""},
		"a stranger's key":                         {d.assertion(stranger, nil), notProven},
		"another agent's key":                      {d.assertion(eddsa, nil), notProven},
		"the other agent by its own":               {d.assertion(eddsa, other), ""},
		"the kid of one, the signature of another": {headed(`{"alg":"ES256","kid":"`+es256.KeyID()+`"}`, stranger), notProven},
		"alg none":                                 {d.forged(map[string]any{"alg": "none", "kid": es256.KeyID()}, none), notProven},
		"HS256 with the public key":                {d.forged(map[string]any{"alg": "HS256", "kid": es256.KeyID()}, hs256), notProven},
		"a key in the header":                      {d.forged(map[string]any{"alg": "ES256", "jwk": json.RawMessage(public)}, hs256), notProven},
		"a kid that nobody has":                    {headed(`{"alg":"ES256","kid":"x","typ":"JWT"}`, es256), notProven},
		"no kid, and several keys":                 {d.withoutKid(jose.EdDSA, several, nil), ""},
		"no kid, and one key that has one":         {d.withoutKid(jose.EdDSA, private, other), ""},
		"no kid, and another agent's key":          {d.withoutKid(jose.EdDSA, private, nil), notProven},
	} {
		got, err := d.Authenticate(t.Context(), d.org, tt.p)
		d.refused(name, got, err, tt.why)
	}
	// A second key ends nothing that the first one signs, and what ended says so.
	nameless := func(name, alg, why string) {
		t.Helper()
		got, err := d.AuthenticateNow(t.Context(), d.org, d.withoutKid(alg, private, other))
		d.refused(name, got, err, why)
	}
	nameless("by the other name of its algorithm", "Ed25519", "")
	old, rs384 := d.key(d.other, jose.RS384)
	nameless("no kid, and two keys by now", jose.EdDSA, "")
	d.revoke(old)
	nameless("no kid, and one key that is left", jose.EdDSA, "")
	_, err = d.Authenticate(t.Context(), d.org, d.assertion(rs384, other))
	d.refused("the one that is not", nil, err, "revoked at")
	d.revoke(named)
	nameless("no kid, and none that is left", jose.EdDSA, "revoked at")
}

// withoutKid presents an assertion whose header names no key, signed with EdDSA, which has
// two names.
func (d *desk) withoutKid(alg string, private crypto.Signer, with map[string]any) *Presented {
	d.t.Helper()
	input := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"`+alg+`"}`)) + "." + base64.RawURLEncoding.EncodeToString(d.claims(with))
	signature, err := private.Sign(nil, []byte(input), crypto.Hash(0))
	if err != nil {
		d.t.Fatal(err)
	}
	return &Presented{Assertion: input + "." + base64.RawURLEncoding.EncodeToString(signature), Method: MethodPrivateKeyJWT}
}

// Only what is right in all else is used up: nobody whose key was revoked writes.
func TestWhatIsRefusedIsNotUsedUp(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "sqlite:"+filepath.Join(t.TempDir(), "c.db"))
	_, signer := d.key(d.agent, jose.ES256)
	early := d.assertion(signer, map[string]any{"nbf": d.now.Add(2 * time.Minute).Unix(), "exp": d.now.Add(4 * time.Minute).Unix()})
	_, err := d.Authenticate(t.Context(), d.org, early)
	d.refused("early", nil, err, "nbf")
	d.now = d.now.Add(2 * time.Minute)
	got, err := d.Authenticate(t.Context(), d.org, early)
	d.refused("in time", got, err, "")
	same := d.assertion(signer, map[string]any{"jti": "one"})
	got, err = d.Authenticate(t.Context(), d.org, same)
	d.refused("a jti", got, err, "")
	_, others := d.key(d.other, jose.ES256)
	got, err = d.Authenticate(t.Context(), d.org, d.assertion(others, map[string]any{"iss": d.other.AgentID, "sub": d.other.AgentID, "jti": "one"}))
	d.refused("the same jti of another client", got, err, "")
}

// a database that was put back does not remember what was used, so nothing that may
// have been is taken again.
func TestAfterARestoreNoAssertionOfBeforeIsTaken(t *testing.T) {
	t.Parallel()
	d := newDesk(t, "sqlite:"+filepath.Join(t.TempDir(), "c.db"))
	_, signer := d.key(d.agent, jose.ES256)
	began := d.now
	at := func(after time.Duration) int64 { return began.Add(after).Unix() }
	const skew = agentidp.ClockSkew
	d.org.RestoredAt = began
	long := map[string]any{"iat": at(skew), "exp": at(skew + maxAssertionLife)} // by a clock that is as far ahead as may be
	for _, tt := range []struct {
		name  string
		after time.Duration
		with  map[string]any
		why   string
	}{
		{"signed before", 0, map[string]any{"iat": at(0)}, "does not show that it was signed since"},
		{"signed in the first minute", 5 * time.Second, map[string]any{"iat": at(5 * time.Second)}, "Try again with a fresh one after"},
		{"that one, a minute later", skew + time.Second, map[string]any{"iat": at(5 * time.Second), "exp": at(2 * skew)}, "does not show that it was signed since"},
		{"the longest one", skew + time.Second, long, "does not show that it was signed since"},
		{"without iat", skew + time.Second, map[string]any{"iat": nil, "exp": at(2 * skew)}, "does not show that it was signed since"},
		{"without iat, and too long for one of before", skew + time.Second, map[string]any{"iat": nil, "exp": at(skew + maxAssertionLife + time.Second)}, ""},
		{"signed after the first minute", skew + time.Second, map[string]any{"iat": at(skew + time.Second), "exp": at(2 * skew)}, ""},
	} {
		d.now = began.Add(tt.after)
		p := d.assertion(signer, tt.with)
		got, err := d.Authenticate(t.Context(), d.org, p)
		if e, ok := errors.AsType[*agentidp.Error](err); ok && e.Kind == agentidp.Unavailable {
			if !strings.Contains(e.Message, tt.why) || tt.why == "" || e.RetryAfter <= 0 || e.RetryAfter > skew+time.Second {
				t.Errorf("%s: %v, %s", tt.name, err, e.RetryAfter)
			}
			continue
		}
		d.refused(tt.name, got, err, tt.why)
	}
}

// When a credential was last used is for people: kept in memory, and written when the
// database is closed, if not before.
func TestWhenACredentialWasLastUsed(t *testing.T) {
	t.Parallel()
	onEachEngine(t, func(t *testing.T, d *desk) {
		used, secret := d.secret(d.agent, nil)
		unused, _ := d.secret(d.agent, nil)
		wrong, _ := NewSecret(unused.CredentialID)
		for _, p := range []*Presented{withSecret(d.agent.AgentID, secret), withSecret(d.agent.AgentID, wrong)} {
			_, err := d.AuthenticateNow(t.Context(), d.org, p)
			if (err == nil) != (p.Secret == secret) {
				t.Fatal(err)
			}
		}
		url := d.url
		if err := d.db.Close(); err != nil {
			t.Fatal(err)
		}
		d.open(url)
		for c, want := range map[*agentidp.Credential]*time.Time{used: &d.now, unused: nil} {
			got, err := d.db.Credential(t.Context(), d.org.ID, c.CredentialID)
			if err != nil || (got.LastUsedAt == nil) != (want == nil) || want != nil && !got.LastUsedAt.Equal(*want) {
				t.Errorf("%+v, %v, want %v", got, err, want)
			}
		}
	})
}

// a signature is verified whether there is such a client or not.
func TestThereIsADecoyForEveryAlgorithm(t *testing.T) {
	t.Parallel()
	decoys := newDecoys()
	for _, alg := range jose.Algorithms {
		compact, err := newSigner(t, alg).Sign("JWT", []byte("{}"))
		if err != nil {
			t.Fatal(err)
		}
		jws, err := jose.Parse(compact)
		if err != nil {
			t.Fatal(err)
		}
		if decoys[alg] == nil || !errors.Is(jws.Verify(decoys[alg]), jose.ErrSignature) {
			t.Errorf("%s: %v", alg, decoys[alg])
		}
	}
}
