package app

import (
	"bytes"
	"compress/gzip"
	"crypto/elliptic"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/certtest"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/dnstest"
	"github.com/sentryagent/agentidp/internal/pace"
)

// everywhere asserts that a token of the known key is good at every door, that others' are
// too, and that the server says it is ready.
func (s *source) everywhere() {
	s.t.Helper()
	for _, d := range allDoors {
		s.want(s.through(d).exchange(exchangeBody(s.by("k1", s.k1), s.agentID)), http.StatusOK)
	}
	s.want(s.submit(s.signed()), http.StatusOK)
	s.want(s.do(http.MethodGet, readyPath, "", nil), http.StatusOK)
}

// reachable waits until the latest fetch from a host has failed, or has not, and asserts that
// the gauge says so on which an alert stands.
func (s *source) reachable(host string, want bool) {
	s.t.Helper()
	pace.Eventually(s.t, "the latest fetch ended as it should", func() bool { return (s.app.verifier.Stats().Failing == 0) == want })
	s.counts(map[string]string{`agentidp_issuer_keys_reachable{host="` + host + `"}`: map[bool]string{true: "1", false: "0"}[want]})
}

// survives has an issuer fail for most of a day, and asserts that whoever's key is known
// notices nothing, that others are told to come again, that the alert's gauge falls, and
// that all is well as soon as the issuer is.
func (s *source) survives(host string, breaks func(), mends func(keys string)) {
	s.t.Helper()
	kid, key := agentidp.NewID(s.clock.Now()), newECKey(s.t, elliptic.P256())
	breaks()
	s.clock.advance(refreshed)
	s.everywhere() // the first of these has the keys fetched again
	s.reachable(host, false)
	s.clock.advance(30 * time.Second)
	s.everywhere()
	a := s.want(s.submit(s.by(kid, es256(key))), http.StatusServiceUnavailable, agentidp.CodeIssuerUnreachable)
	if a.Header.Get("Retry-After") != "5" {
		s.t.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
	}
	s.everywhere()
	s.clock.advance(23 * time.Hour)
	s.everywhere()

	mends(strings.Replace(s.set1, `[`, `[`+asJSON(jwk(key.Public(), kid, nil))+`,`, 1))
	s.clock.advance(30 * time.Second)
	pace.Eventually(s.t, "the new key is known", func() bool { // a fetch that the last of these began may have failed just now
		s.clock.advance(5 * time.Second)
		return s.submit(s.by(kid, es256(key))).Status == http.StatusOK
	})
	s.reachable(host, true)
	s.everywhere()
}

// inflated is a hundred megabytes that come in a hundred kilobytes.
func inflated() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.WriteString(z, `{"keys":[`)
	for range 100 {
		_, _ = z.Write(bytes.Repeat([]byte(" "), 1<<20))
	}
	_ = z.Close()
	return b.Bytes()
}

// TestR14TheIssuerFails in whatever way, one after the other.
func TestR14TheIssuerFails(t *testing.T) {
	t.Parallel()
	s := newSource(t, watched)
	s.becomesAfter(1, s.by("k1", s.k1), "granted")
	says := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	bomb := inflated()
	const drips = "a byte at a time, without end"
	for name, fault := range map[string]http.HandlerFunc{
		"500":            says(500, s.set2),
		"404":            says(404, s.set2),
		"a page in HTML": says(200, "<!DOCTYPE html><title>Maintenance</title>"),
		"no keys":        says(200, `{"keys":[]}`),
		"ten megabytes":  says(200, s.set2+strings.Repeat(" ", 10<<20)),
		"it hangs up":    func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"half an answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "4096")
			_, _ = io.WriteString(w, s.set2)
		},
		"a hundred megabytes that come as a hundred kilobytes": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb)
		},
		drips: func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = rc.Flush()
				time.Sleep(20 * time.Millisecond)
			}
		},
	} {
		t.Run("R-14 "+name, func(t *testing.T) {
			if name == drips {
				pace.Slow(t) // each fetch lasts as long as it may
			}
			s := s.sub(t)
			s.survives("127.0.0.1", func() { s.keys.answer(fault) }, s.keys.publish)
		})
	}
	t.Run("R-14 up and down", func(t *testing.T) {
		s := s.sub(t)
		s.keys.publish(s.set1)
		s.clock.advance(refreshed)
		s.everywhere()
		s.reachable("127.0.0.1", true)
		for range 5 {
			s.keys.answer(fault500)
			s.clock.advance(refreshed)
			s.everywhere()
			s.reachable("127.0.0.1", false)
			s.keys.publish(s.set1)
			s.clock.advance(refreshed)
			s.everywhere()
			s.reachable("127.0.0.1", true)
		}
	})
}

func fault500(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }

// sub returns the source for a subtest.
func (s *source) sub(t *testing.T) *source {
	sub := *s
	sub.forger = s.in(t)
	return &sub
}

// TestR14TheIssuersCertificateExpires, and is renewed.
func TestR14TheIssuersCertificateExpires(t *testing.T) {
	t.Parallel()
	s := newSource(t, watched)
	good, bad := certtest.New(nil), certtest.New(expired)
	s.issuers.AddCert(good.Leaf)
	s.issuers.AddCert(bad.Leaf)
	var shown atomic.Pointer[tls.Certificate]
	shown.Store(&good)
	s.issuer = "https://tls.ci.example"
	s.keys = s.secure(s.set1, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{*shown.Load()}}, nil
	}})
	s.provider("tls", s.issuer, s.keys.URL, "ES256")
	s.becomesAfter(1, s.by("k1", s.k1), "granted")
	s.survives("127.0.0.1", func() { shown.Store(&bad) }, func(keys string) {
		s.keys.publish(keys)
		shown.Store(&good)
	})
	if !strings.Contains(s.logs.String(), "certificate has expired") {
		t.Error("the log does not say why")
	}
}

// with the keys that were saved it serves, and without them whoever needs them is
// told to come again. Others notice nothing.
func TestR15TheIssuerIsDownWhenTheServerStarts(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.down()
	others := func() {
		s.want(s.submit(s.signed()), http.StatusOK)
		s.want(s.do(http.MethodGet, readyPath, "", nil), http.StatusOK)
	}
	s.restart()
	others()
	s.becomesAfter(1, s.by("k1", s.k1), agentidp.CodeIssuerUnreachable)
	for range 3 * len(allDoors) {
		s.becomes(s.by("k1", s.k1), agentidp.CodeIssuerUnreachable) // it is not asked for each
	}
	others()
	s.keys.publish(s.set1)
	s.clock.advance(5 * time.Second)
	s.becomesAfter(1, s.by("k1", s.k1), "granted")
	pace.Eventually(t, "the key set is saved", func() bool {
		set, err := s.app.db.KeySet(t.Context(), s.keys.URL)
		return err == nil && set.JWKS != nil
	})

	s.down()
	for range 3 {
		s.restart()
		for range len(allDoors) {
			s.becomes(s.by("k1", s.k1), "granted")
		}
		others()
	}
	s.clock.advance(24*time.Hour + time.Second) // known keys have served their day
	s.restart()
	s.becomesAfter(1, s.by("k1", s.k1), agentidp.CodeIssuerUnreachable)
	others()
}

// TestR16TheIssuerRotatesItsKeys: each rotation costs one fetch, the first token of the new
// key is good if half a minute has passed since the last, and what is no longer published is
// refused from then on.
func TestR16TheIssuerRotatesItsKeys(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	s.becomesAfter(1, s.by("k1", s.k1), "granted")
	renamed := strings.Replace(s.set2, `"k2"`, `"k1"`, 1)
	for _, tt := range []struct {
		name, before, after string
		kid                 string
		by                  signer
		old                 attack
	}{
		{"with overlap", s.set1, s.both, "k2", s.k2, attack{"the old key", s.by("k1", s.k1), "granted"}},
		{"without overlap", s.set1, s.set2, "k2", s.k2, attack{"the old key", s.by("k1", s.k1), "unknown_key"}},
		{"and back", s.set2, s.set1, "k1", s.k1, attack{"the newer key", s.by("k2", s.k2), "unknown_key"}},
		{"under the same id", s.set1, renamed, "k1", s.k2, attack{"the old key", s.by("k1", s.k1), "signature"}},
		{"and back, under the same id", renamed, s.set1, "k1", s.k1, attack{"the newer key", s.by("k1", s.k2), "signature"}},
	} {
		t.Run("R-16 "+tt.name, func(t *testing.T) {
			s := s.sub(t)
			s.keys.publish(tt.before)
			s.clock.advance(30 * time.Second)
			s.becomesAfter(1, s.by("unknown", s.k1), "unknown_key")
			s.keys.publish(tt.after)
			s.clock.advance(30 * time.Second)
			s.becomesAfter(1, s.by(tt.kid, tt.by), "granted")
			for range len(allDoors) {
				s.becomes(s.by(tt.kid, tt.by), "granted")
			}
			s.attacks([]attack{tt.old})
		})
	}
}

// TestR26NameServersFail: only the renewal of keys needs them.
func TestR26NameServersFail(t *testing.T) {
	t.Parallel()
	s := newSource(t, watched, func(c *config.Config) { c.IssuerHosts = []string{"keys.example"} })
	s.issuer = "https://named.ci.example"
	s.provider("named", s.issuer, strings.Replace(s.keys.URL, "127.0.0.1", "keys.example", 1)+"/jwks", "ES256")
	s.becomesAfter(1, s.by("k1", s.k1), "granted")
	for name, how := range map[string]dnstest.Failure{
		"nobody is there": dnstest.Refusal, "nobody answers": dnstest.Silence, "they fail": dnstest.ServerFailure,
		"the name is nobody's": dnstest.NoSuchName, "the name has no address": dnstest.NoAddress,
	} {
		t.Run("R-26 "+name, func(t *testing.T) {
			if how == dnstest.Silence {
				pace.Slow(t) // each fetch lasts as long as it may
			}
			s := s.sub(t)
			s.survives("keys.example", func() { s.dns.Fail(how) }, func(keys string) {
				s.keys.publish(keys)
				s.dns.Fail(dnstest.None)
			})
		})
	}
	t.Run("R-26 the name comes and goes", func(t *testing.T) {
		s := s.sub(t)
		for _, step := range []struct {
			how  dnstest.Failure
			want bool
		}{{dnstest.NoSuchName, false}, {dnstest.None, true}, {dnstest.NoSuchName, false}, {dnstest.None, true}} {
			s.dns.Fail(step.how)
			s.clock.advance(refreshed)
			s.everywhere()
			s.reachable("keys.example", step.want)
		}
	})
}
