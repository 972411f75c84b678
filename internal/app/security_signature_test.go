package app

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/pace"
)

// careless registers a provider whose list of algorithms somebody widened to all
// there are, and whose key set holds what must not be in one. What then still
// protects is that a key is bound to one algorithm.
func (f *forger) careless(ec *ecdsa.PrivateKey, secret []byte) (issuer string) {
	f.t.Helper()
	issuer = "https://careless.ci.example"
	keys := keySet(jwk(ciKey().Public(), f.kid, nil), jwk(ec.Public(), "ec", nil), claims{"kty": "oct", "kid": "oct", "alg": "HS256", "k": b64(secret)})
	f.provider("careless", issuer, keys, "RS256", "ES256", "RS384", "RS512", "PS256", "ES384", "HS256", "HS384", "HS512", "none")
	f.in(f.t).becomes(f.signed(claims{"iss": issuer}), "granted")
	return issuer
}

func TestSecurityAlgNone(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	careless := f.careless(newECKey(t, elliptic.P256()), random(32))
	payload, theirs := f.payload(), f.payload(claims{"iss": careless})
	unsigned := func(header, payload string) string { return b64(header) + "." + b64(payload) + "." }
	f.attacks([]attack{
		{"A-001 alg none without a signature", unsigned(`{"alg":"none"}`, payload), "format"},
		{"A-001 alg none with a kid", unsigned(header("none", f.kid), payload), "format"},
		{"A-001 alg none for a provider that lists it", unsigned(header("none", f.kid), theirs), "format"},
		{"A-001 no signature and no second dot", b64(`{"alg":"none"}`) + "." + b64(payload), "format"},
		{"A-001 alg RS256 without a signature", unsigned(header("RS256", f.kid), payload), "format"},
		{"A-003 alg none with 256 random bits", compact(header("none", f.kid), payload, raw(random(32))), "algorithm"},
		{"A-003 alg none with a real signature", compact(header("none", f.kid), payload, rs256), "algorithm"},
		{"A-003 alg none with a real signature, for a provider that lists it", compact(header("none", f.kid), theirs, rs256), "algorithm"},
	})
	for _, alg := range []string{"None", "NONE", "nOnE", "none ", "none\u0000", ""} {
		fate := "algorithm"
		if alg == "" || strings.HasSuffix(alg, "\u0000") {
			fate = "format"
		}
		name := fmt.Sprintf("A-002 none spelled %q", alg)
		f.attacks([]attack{
			{name, unsigned(header(alg, f.kid), payload), "format"},
			{name + " with a real signature", compact(header(alg, f.kid), payload, rs256), fate},
		})
	}
	for _, alg := range []string{"null", "256", `["RS256"]`, `{"RS256":1}`, "true"} {
		f.attacks([]attack{{"A-017 alg " + alg, f.headed(fmt.Sprintf(`{"alg":%s,"kid":%q}`, alg, f.kid)), "format"}})
	}
	f.attacks([]attack{{"A-017 no alg", f.headed(fmt.Sprintf(`{"typ":"JWT","kid":%q}`, f.kid)), "format"}})
}

func TestSecurityHMACKeyedWithWhatIsPublic(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	ec, published := newECKey(t, elliptic.P256()), random(32)
	careless := f.careless(ec, published)
	payload, theirs := f.payload(), f.payload(claims{"iss": careless})
	for _, s := range publicSpellings(t, ciKey().Public()) {
		f.attacks([]attack{
			{"A-004 the RSA key as " + s.name, compact(header("HS256", f.kid), payload, hs256(s.key)), "algorithm"},
			{"A-004 the RSA key as " + s.name + ", HS256 on the list", compact(header("HS256", f.kid), theirs, hs256(s.key)), "algorithm"},
		})
	}
	for _, s := range publicSpellings(t, ec.Public()) {
		f.attacks([]attack{{"A-005 the EC key as " + s.name, compact(header("HS256", "ec"), theirs, hs256(s.key)), "algorithm"}})
	}
	for _, s := range []string{"", "null", "undefined", "\x00", "secret", f.kid} {
		f.attacks([]attack{
			{fmt.Sprintf("A-006 the key %q", s), compact(header("HS256", f.kid), payload, hs256([]byte(s))), "algorithm"},
			{fmt.Sprintf("A-006 the key %q, HS256 on the list", s), compact(header("HS256", f.kid), theirs, hs256([]byte(s))), "algorithm"},
			{fmt.Sprintf("A-006 the key %q and no kid", s), compact(`{"alg":"HS256"}`, theirs, hs256([]byte(s))), "unknown_key"},
		})
	}
	f.attacks([]attack{
		{"A-024 a symmetric key that the provider publishes", compact(header("HS256", "oct"), theirs, hs256(published)), "unknown_key"},
		{"A-024 its bytes for the RSA key", compact(header("HS256", f.kid), theirs, hs256(published)), "algorithm"},
	})
}

func TestSecurityECDSASignatures(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	const issuer = "https://es256.ci.example"
	key := newECKey(t, elliptic.P256())
	input := b64(header("ES256", "ec")) + "." + b64(f.payload(claims{"iss": issuer}))
	short, shortInput, s := smallS(t, header("ES256", "short"), f.payload(claims{"iss": issuer}))
	f.provider("es256", issuer, keySet(jwk(key.Public(), "ec", nil), jwk(short, "short", nil)), "ES256")

	n := elliptic.P256().Params().N
	values := []struct {
		name  string
		value *big.Int
	}{{"0", big.NewInt(0)}, {"1", big.NewInt(1)}, {"n-1", new(big.Int).Sub(n, big.NewInt(1))}, {"n", n}}
	for _, r := range values {
		for _, s := range values {
			f.attacks([]attack{{"A-008 r=" + r.name + " s=" + s.name, input + "." + b64(rs(r.value, s.value, 32)), "signature"}})
		}
	}
	r, normal := ecSign(key, input)
	good := rs(r, normal, 32)
	der, err := asn1.Marshal(struct{ R, S *big.Int }{r, normal})
	if err != nil {
		t.Fatal(err)
	}
	wide := new(big.Int).Add(normal, n).FillBytes(make([]byte, 33))
	plusN := bytes.Clone(s)
	new(big.Int).Add(n, new(big.Int).SetBytes(s[32:])).FillBytes(plusN[32:])
	f.attacks([]attack{
		{"A-008 s+n, where it fits 32 bytes", shortInput + "." + b64(plusN), "signature"},
		{"A-008 s+n in 33 bytes", input + "." + b64(append(bytes.Clone(good[:32]), wide...)), "signature"},
		{"A-008 r and s exchanged", input + "." + b64(append(bytes.Clone(good[32:]), good[:32]...)), "signature"},
		{"A-009 DER", input + "." + b64(der), "signature"},
		{"A-009 63 bytes", input + "." + b64(good[:63]), "signature"},
		{"A-009 65 bytes", input + "." + b64(append([]byte{0}, good...)), "signature"},
		{"A-009 66 bytes: r and s of 33", input + "." + b64(rs(r, normal, 33)), "signature"},
		{"A-009 128 bytes: r and s of 64", input + "." + b64(rs(r, normal, 64)), "signature"},
		{"A-009 leading zeros stripped", shortInput + "." + b64(append(bytes.Clone(s[:32]), bytes.TrimLeft(s[32:], "\x00")...)), "signature"},
		{"A-009 the same with its zeros", shortInput + "." + b64(s), "granted"},
		{"A-009 r and s as they should be", input + "." + b64(good), "granted"},
		{"A-010 its high-s twin is the same token", input + "." + b64(rs(r, new(big.Int).Sub(n, normal), 32)), agentidp.ReasonTokenReplayed},
	})
	input = b64(header("ES256", "ec")) + "." + b64(f.payload(claims{"iss": issuer}))
	r, normal = ecSign(key, input)
	f.attacks([]attack{
		{"A-010 the high-s twin is a token", input + "." + b64(rs(r, new(big.Int).Sub(n, normal), 32)), "granted"},
		{"A-010 the original is then the same token", input + "." + b64(rs(r, normal, 32)), agentidp.ReasonTokenReplayed},
	})
}

func (k *rsaByHand) jwk(kid string) claims {
	return jwk(ciKey().Public(), kid, claims{"n": b64(k.n.Bytes()), "e": b64(k.e.Bytes())})
}

// TestSecurityWeakKeys publishes weak keys beside a good one, and signs with them.
func TestSecurityWeakKeys(t *testing.T) {
	t.Parallel()
	f := newForger(t, watched)
	weak1024, weak512 := newRSAByHand(t, 1024), newRSAByHand(t, 512)
	e1 := &rsaByHand{ciKey().N, big.NewInt(1), big.NewInt(1)} // anyone signs with it
	big33 := withExponent(big.NewInt(1<<32 + 15))
	e2, e4 := withExponent(big.NewInt(2)), withExponent(big.NewInt(4))
	even := &rsaByHand{new(big.Int).Add(ciKey().N, big.NewInt(1)), big.NewInt(3), big.NewInt(1)}
	huge := new(big.Int).SetBit(new(big.Int).SetBytes(random(2048)), 16383, 1)
	huge.SetBit(huge, 0, 1)
	oversize := &rsaByHand{huge, big.NewInt(3), big.NewInt(1)}

	point := newECKey(t, elliptic.P256())
	x, y := unb64(jwk(point.Public(), "", nil)["x"].(string)), unb64(jwk(point.Public(), "", nil)["y"].(string))
	offCurve := bytes.Clone(y)
	offCurve[31] ^= 1
	overP := new(big.Int).Add(elliptic.P256().Params().P, big.NewInt(5)).FillBytes(make([]byte, 32))
	leading := newECKey(t, elliptic.P256())
	for leading.X.BitLen() > 248 {
		leading = newECKey(t, elliptic.P256())
	}
	good := newECKey(t, elliptic.P256())
	set := keySet(
		jwk(ciKey().Public(), f.kid, nil), weak1024.jwk("1024"), weak512.jwk("512"), e1.jwk("e1"), e2.jwk("e2"), e4.jwk("e4"),
		big33.jwk("e33"), even.jwk("even"), jwk(ciKey().Public(), "n0", claims{"n": "AA"}), jwk(ciKey().Public(), "none", claims{"n": ""}), oversize.jwk("16384"),
		jwk(point.Public(), "off", claims{"y": b64(offCurve)}), jwk(point.Public(), "infinity", claims{"x": b64(make([]byte, 32)), "y": b64(make([]byte, 32))}),
		jwk(point.Public(), "over", claims{"x": b64(overP)}), jwk(point.Public(), "half", claims{"x": b64(x[:16])}),
		jwk(point.Public(), "split", claims{"x": b64(x[:31]), "y": b64(append(x[31:32:32], y...))}),
		jwk(leading.Public(), "short", claims{"x": b64(leading.X.Bytes())}), jwk(good.Public(), "ec", nil),
	)
	published := f.publisher(set)
	f.provider("static", "https://static.ci.example", set, "RS256", "ES256")
	f.provider("fetched", "https://fetched.ci.example", published.URL, "RS256", "ES256")
	for i, issuer := range []string{"https://static.ci.example", "https://fetched.ci.example"} {
		says := claims{"iss": issuer}
		by := func(alg, kid string, sign signer) string { return compact(header(alg, kid), f.payload(says), sign) }
		f.becomesAfter(i, by("RS256", f.kid, rs256), "granted")
		for _, a := range []attack{
			{"A-011 RSA of 1024 bits", by("RS256", "1024", weak1024.sign), "unknown_key"},
			{"A-011 RSA of 512 bits", by("RS256", "512", weak512.sign), "unknown_key"},
			{"A-012 e=1", by("RS256", "e1", e1.sign), "unknown_key"},
			{"A-012 e=2", by("RS256", "e2", e2.sign), "unknown_key"},
			{"A-012 e=4", by("RS256", "e4", e4.sign), "unknown_key"},
			{"A-012 e over 2^31", by("RS256", "e33", big33.sign), "unknown_key"},
			{"A-012 n even", by("RS256", "even", even.sign), "unknown_key"},
			{"A-012 n=0", by("RS256", "n0", raw(make([]byte, 256))), "unknown_key"},
			{"A-012 n empty", by("RS256", "none", raw(make([]byte, 256))), "unknown_key"},
			{"A-013 RSA of 16384 bits", by("RS256", "16384", raw(random(2048))), "unknown_key"},
			{"A-023 a point off the curve", by("ES256", "off", es256(point)), "unknown_key"},
			{"A-023 the point at infinity", by("ES256", "infinity", es256(point)), "unknown_key"},
			{"A-023 a coordinate over p", by("ES256", "over", es256(point)), "unknown_key"},
			{"A-023 half a coordinate", by("ES256", "half", es256(point)), "unknown_key"},
			{"A-023 coordinates of 31 and 33 bytes", by("ES256", "split", es256(point)), "unknown_key"},
			{"A-023 a coordinate without its leading zero", by("ES256", "short", es256(leading)), "unknown_key"},
			{"A-023 the good key of the set", by("ES256", "ec", es256(good)), "granted"},
			{"A-023 the good key's id, another key", by("ES256", "ec", es256(point)), "signature"},
		} {
			a.name += ", keys of " + f.names[issuer]
			f.attacks([]attack{a})
		}
	}
	t.Run("A-011 A-012 A-013 A-023 the operator is told", func(t *testing.T) {
		f := f.in(t)
		f.counts(map[string]string{ // two hosts with one name: that of the CI has none
			`agentidp_issuer_keys_ignored{host="127.0.0.1"}`:   "16",
			`agentidp_issuer_keys_reachable{host="127.0.0.1"}`: "1",
		})
		const line = "an issuer publishes keys that are not used"
		if log := f.logs.String(); strings.Count(log, line) != 1 || !strings.Contains(log, "the RSA modulus has 1024 bits, not 2048 to 8192") {
			t.Errorf("the log must say once what is wrong with the keys, and does %d times", strings.Count(log, line))
		}
		test := func(name string) (usable bool, problems int) {
			report := f.want(f.do(http.MethodPost, "/api/v1/oidc/providers/"+name+"/test", f.admin(), nil), http.StatusOK)
			for _, key := range report.Body["keys"].([]any) {
				if key.(map[string]any)["problem"] != nil {
					problems++
				}
			}
			return report.Body["usable"] == true, problems
		}
		for _, name := range []string{"static", "fetched"} {
			if usable, problems := test(name); !usable || problems != 16 {
				t.Errorf("the test of the provider %s: usable %v, problems with %d keys", name, usable, problems)
			}
		}
		published.publish(keySet(jwk(ciKey().Public(), f.kid, nil), jwk(good.Public(), "for encryption", claims{"use": "enc"})))
		f.clock.advance(refreshed)
		f.want(f.submit(f.signed(claims{"iss": "https://fetched.ci.example"})), http.StatusOK) // which has them fetched
		pace.Eventually(t, "the keys are fetched", func() bool {
			return f.series()[`agentidp_issuer_keys_ignored{host="127.0.0.1"}`] == "0"
		})
	})
}

// TestSecurityA011NoOtherKey: where nothing but a weak key is published, keys are
// not to be had.
func TestSecurityA011NoOtherKey(t *testing.T) {
	t.Parallel()
	f := newForger(t, watched)
	weak := newRSAByHand(t, 1024)
	set := keySet(weak.jwk("1024"))
	f.provider("fetched", "https://fetched.ci.example", f.publisher(set).URL, "RS256")
	f.provider("static", "https://static.ci.example", set, "RS256")
	by := func(issuer string) string {
		return compact(header("RS256", "1024"), f.payload(claims{"iss": issuer}), weak.sign)
	}
	f.attacks([]attack{{"A-011 no other key in a static set", by("https://static.ci.example"), "unknown_key"}})
	t.Run("A-011 no other key in a fetched set", func(t *testing.T) {
		f.in(t).becomesAfter(1, by("https://fetched.ci.example"), agentidp.CodeIssuerUnreachable)
		pace.Eventually(t, "the operator is told", func() bool {
			return strings.Contains(f.logs.String(), "keys of an issuer could not be renewed")
		})
		f.counts(map[string]string{`agentidp_issuer_keys_reachable{host="127.0.0.1"}`: "0"})
	})
}

// TestSecurityA014PaddingMutations signs encoded messages that lenient parsers have
// taken for PKCS #1 v1.5 (RFC 8017 §9.2), and every change of one bit in what
// stands before the hash.
func TestSecurityA014PaddingMutations(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	input := b64(header("RS256", f.kid)) + "." + b64(f.payload())
	sum, sum512 := sha256.Sum256([]byte(input)), sha512.Sum512([]byte(input))
	size := ciKey().Size()
	encode := func(fill byte, padding int, parts ...[]byte) []byte {
		em := append([]byte{0, 1}, bytes.Repeat([]byte{fill}, padding)...)
		em = append(append(em, 0), bytes.Join(parts, nil)...)
		return append(em, make([]byte, max(0, size-len(em)))...)[:size]
	}
	full := size - 3 - len(sha256Info) - len(sum)
	right := encode(0xff, full, sha256Info, sum[:])
	info := func(change func(b []byte) []byte) []byte {
		b := change(bytes.Clone(sha256Info))
		return encode(0xff, size-3-len(b)-len(sum), b, sum[:])
	}
	mutations := map[string][]byte{
		"padding of zeros": encode(0, full, sha256Info, sum[:]), "padding of fe": encode(0xfe, full, sha256Info, sum[:]),
		"no padding, garbage behind":          encode(0xff, 0, sha256Info, sum[:], random(full)),
		"eight bytes of padding":              encode(0xff, 8, sha256Info, sum[:]),
		"eight bytes of padding, garbage":     encode(0xff, 8, sha256Info, sum[:], random(full-8)),
		"a byte of padding less, zero behind": encode(0xff, full-1, sha256Info, sum[:]),
		"no digest info":                      encode(0xff, full+len(sha256Info), sum[:]),
		"the hash alone is SHA-512's":         encode(0xff, full, sha256Info, sum512[:32]),
		"a hash of one byte less":             encode(0xff, full+1, sha256Info, sum[:31]),
		"no NULL parameter": info(func(b []byte) []byte {
			b[1], b[3] = 0x2f, 0x0b
			return append(b[:15], b[17:]...)
		}),
		"NULL with a long length": info(func(b []byte) []byte { b[1]++; b[3]++; return append(append(b[:16:16], 0x81, 0), b[17:]...) }),
		"NULL with content": info(func(b []byte) []byte {
			b[1] += 2
			b[3] += 2
			return append(append(b[:16:16], 2, 0xca, 0xfe), b[17:]...)
		}),
		"sequence of long length":       info(func(b []byte) []byte { return append([]byte{0x30, 0x81, 0x31}, b[2:]...) }),
		"sequence of indefinite length": info(func(b []byte) []byte { return append([]byte{0x30, 0x80}, b[2:]...) }),
		"digest of long length":         info(func(b []byte) []byte { b[1]++; return append(b[:17:17], 0x04, 0x81, 0x20) }),
		"garbage within the sequence":   info(func(b []byte) []byte { b[1] += 4; return append([]byte{0x30, b[1], 0x05, 0x02, 0xca, 0xfe}, b[2:]...) }),
		"MD5's identifier": info(func([]byte) []byte {
			return []byte{0x30, 0x30, 0x30, 0x0c, 0x06, 0x08, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02, 0x05, 0x05, 0x00, 0x04, 0x20}
		}),
	}
	for i := range len(sha256Info) + 1 { // from the zero that ends the padding
		for bit := range 8 {
			em := bytes.Clone(right)
			em[2+full+i] ^= 1 << bit
			mutations[fmt.Sprintf("bit %d of byte %d behind the padding", bit, i)] = em
		}
	}
	for i := 1; i < 2+full; i += 5 {
		em := bytes.Clone(right)
		em[i] ^= 0x55
		mutations[fmt.Sprintf("byte %d of block type and padding", i)] = em
	}
	if len(mutations) < 213 {
		t.Errorf("%d mutations, and Wycheproof has 213", len(mutations))
	}
	for name, em := range mutations {
		f.attacks([]attack{{"A-014 " + name, input + "." + b64(privateRSA(em)), "signature"}})
	}
	f.attacks([]attack{{"A-014 as RFC 8017 has it", input + "." + b64(privateRSA(right)), "granted"}})
}

func TestSecurityAKeyHasOneAlgorithm(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	careless := f.careless(newECKey(t, elliptic.P256()), random(32))
	for _, issuer := range []string{f.issuer, careless} {
		says, to := claims{"iss": issuer}, ", for "+f.names[issuer]
		f.attacks([]attack{
			{"A-015 PS256" + to, compact(header("PS256", f.kid), f.payload(says), pss), "algorithm"},
			{"A-015 RS384" + to, compact(header("RS384", f.kid), f.payload(says), pkcs1(ciKey(), crypto.SHA384)), "algorithm"},
			{"A-015 RS512" + to, compact(header("RS512", f.kid), f.payload(says), pkcs1(ciKey(), crypto.SHA512)), "algorithm"},
			{"A-015 PSS under RS256" + to, compact(header("RS256", f.kid), f.payload(says), pss), "signature"},
			{"A-015 SHA-512 under RS256" + to, compact(header("RS256", f.kid), f.payload(says), pkcs1(ciKey(), crypto.SHA512)), "signature"},
			{"A-015 rs256" + to, compact(header("rs256", f.kid), f.payload(says), rs256), "algorithm"},
			{"A-015 ES256 with the RSA key" + to, compact(header("ES256", f.kid), f.payload(says), raw(random(64))), "algorithm"},
		})
	}

	f.attacks([]attack{{"A-021 the kid of another published key", joined(b64(header("RS256", "ec")), b64(f.payload(claims{"iss": careless})), raw(rs256("x"))), "algorithm"}})

	// Their issuers' lists allow more than one algorithm; their keys do not.
	p384, long := newECKey(t, elliptic.P384()), newECKey(t, elliptic.P384())
	curves := "https://curves.ci.example"
	set := keySet(
		jwk(ciKey().Public(), "rsa", claims{"alg": "RS512"}),
		jwk(p384.Public(), "p384", claims{"alg": nil}), jwk(p384.Public(), "p384 as ES256", claims{"alg": "ES256"}),
		jwk(long.Public(), "p384 as P-256", claims{"alg": "ES256", "crv": "P-256"}),
	)
	f.provider("curves", curves, set, "RS256", "RS512", "ES256", "ES384")
	f.provider("rs256-alone", "https://rs256.ci.example", set, "RS256")
	f.provider("rs256-fetched", "https://rs256-fetched.ci.example", f.publisher(set).URL, "RS256")
	by := func(issuer, alg, kid string, sign signer) string {
		return compact(header(alg, kid), f.payload(claims{"iss": issuer}), sign)
	}
	es384 := func(input string) []byte {
		sum := sha512.Sum384([]byte(input))
		r, s, err := ecdsa.Sign(rand.Reader, p384, sum[:])
		if err != nil {
			panic(err)
		}
		return rs(r, s, 48)
	}
	f.attacks([]attack{
		{"A-018 RS256 with a key whose alg is RS512", by(curves, "RS256", "rsa", rs256), "algorithm"},
		{"A-018 RS512 with it", by(curves, "RS512", "rsa", pkcs1(ciKey(), crypto.SHA512)), "granted"},
		{"A-018 the key's alg is not on the list, static", by("https://rs256.ci.example", "RS256", "rsa", rs256), "unknown_key"},
		{"A-022 ES256 with a P-384 key", by(curves, "ES256", "p384", es256(p384)), "algorithm"},
		{"A-022 ES256 with a P-384 key, 64 bytes", by(curves, "ES256", "p384", raw(random(64))), "algorithm"},
		{"A-022 a P-384 key whose alg is ES256", by(curves, "ES256", "p384 as ES256", es256(p384)), "unknown_key"},
		{"A-022 a P-384 key whose curve is P-256", by(curves, "ES256", "p384 as P-256", es256(long)), "unknown_key"},
		{"A-022 ES384 with the P-384 key", by(curves, "ES384", "p384", es384), "granted"},
	})
	t.Run("A-018 the key's alg is not on the list, fetched", func(t *testing.T) {
		f.in(t).becomesAfter(1, by("https://rs256-fetched.ci.example", "RS256", "rsa", rs256), "algorithm")
	})
	f.attacks([]attack{{"A-015 the set has a key for it, and the list does not have it", by("https://rs256-fetched.ci.example", "ES384", "p384", es384), "algorithm"}})
}

func TestSecurityAlteredTokens(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	mallory := f.signed(claims{"repository": "mallory/deploy"})
	token := f.signed()
	s, m := strings.Split(token, "."), strings.Split(mallory, ".")
	f.attacks([]attack{
		{"A-019 the signature of another token of the same key", s[0] + "." + s[1] + "." + m[2], "signature"},
		{"A-019 the payload of another token", s[0] + "." + m[1] + "." + s[2], "signature"},
		{"A-019 another key's signature", compact(header("RS256", f.kid), f.payload(), pkcs1(malloryKey(), crypto.SHA256)), "signature"},
		{"A-021 typ left out", b64(fmt.Sprintf(`{"alg":"RS256","kid":%q}`, f.kid)) + "." + s[1] + "." + s[2], "signature"},
		{"A-021 a member added", b64(header("RS256", f.kid, `"x5t":"x"`)) + "." + s[1] + "." + s[2], "signature"},
		{"A-021 members in another order", b64(fmt.Sprintf(`{"typ":"JWT","alg":"RS256","kid":%q}`, f.kid)) + "." + s[1] + "." + s[2], "signature"},
		{"A-021 another kid", b64(header("RS256", "other")) + "." + s[1] + "." + s[2], "unknown_key"},
	})
	for i, segment := range []struct {
		name   string
		stride int
	}{{"header", 7}, {"payload", 71}, {"signature", 17}} {
		flip := func(bit int) string {
			flipped := unb64(s[i])
			flipped[bit/8] ^= 1 << (bit % 8)
			parts := []string{s[0], s[1], s[2]}
			parts[i] = b64(flipped)
			return strings.Join(parts, ".")
		}
		bits := 8 * len(unb64(s[i]))
		for bit := 0; bit < bits; bit += segment.stride {
			f.attacks([]attack{{fmt.Sprintf("A-020 bit %d of the %s flipped", bit, segment.name), flip(bit), "unproven"}})
		}
		t.Run("A-020 every bit of the "+segment.name, func(t *testing.T) { f.in(t).unprovenAll(bits, flip) })
	}
	f.attacks([]attack{{"A-020 no bit flipped", token, "granted"}})
}

// unprovenAll sends tokens that differ too little to be told apart by name: none may get
// another answer than garbage, and each is counted.
func (f *forger) unprovenAll(n int, token func(i int) string) {
	f.t.Helper()
	was := f.ledger()
	like := strings.ReplaceAll(string(f.garbage[nil].Raw), quoted(f.garbage[nil].Header.Get("X-Request-Id")), `""`)
	for i := range n {
		a := f.handed(asJSON(exchangeBody(token(i), f.agentID)))
		body := strings.ReplaceAll(a.Body.String(), quoted(a.Header().Get("X-Request-Id")), `""`)
		if a.Code != http.StatusUnauthorized || body != like {
			f.t.Errorf("%d: %d %s", i, a.Code, body)
		}
	}
	f.abides()
	is := f.ledger()
	is.expect(f.t, was, rows{}, 0)
	if counted := len(is.refusedSince(was)); counted != n {
		f.t.Errorf("%d of %d were counted", counted, n)
	}
}
