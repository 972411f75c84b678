package verify_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
)

// wherever they lead.
func TestA183RedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		for name, location := range map[string]string{
			"the same host": "/good", "another host": "https://evil.example/", "plain http": "http://127.0.0.1/",
			"a link-local address": "http://169.254.169.254/", "a file": "file:///etc/passwd",
		} {
			t.Run(fmt.Sprint(status, " to ", name), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, jose.ES256)
				good := jwks(t, w.key)
				w.issuer.handle(func(rw http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/good" {
						_, _ = rw.Write(good)
						return
					}
					http.Redirect(rw, r, location, status)
				})
				w.wantUnreachable(t, w.good(t))
				if n := w.issuer.requests.Load(); n != 1 {
					t.Errorf("%d requests", n)
				}
			})
		}
	}
}

// What a provider says is checked at every use, not only when it is registered.
func TestA185A188AddressesThatAreNotUsed(t *testing.T) {
	t.Parallel()
	for _, insecure := range []bool{false, true} {
		w := newWorld(t, jose.ES256)
		w.config.AllowInsecureLoopback = insecure
		requests := 0
		body := string(jwks(t, w.key))
		w.config.SetTransport(roundTripper(func(*http.Request) (*http.Response, error) {
			requests++
			return answered(body), nil
		}))
		w.restart(t)
		for address, ok := range map[string]bool{
			"https://ci.example/keys":      true,
			"https://ci.example:443/keys":  true,
			"https://ci.example:8443/keys": false,
			"https://127.0.0.1/keys":       insecure,
			"http://127.0.0.1:80/keys":     insecure,
			"http://127.1.2.3/keys":        insecure,
			"http://[::1]:8080/keys":       insecure,
			"http://localhost:8080/keys":   insecure,
			"http://ci.example/keys":       false,
			"http://localhost.evil/keys":   false,
			"http://127.0.0.1.evil/keys":   false,
			"http://2130706433/keys":       false,
			"http://0.0.0.0/keys":          false,
			"http://169.254.169.254/keys":  false,
			"http://127.0.0.1@evil/keys":   false,
			"https://user@ci.example/keys": false,
			"https://ci.example/keys#x":    false,
			"https:///keys":                false,
			"ftp://ci.example/keys":        false,
			"file:///etc/passwd":           false,
			"//ci.example/keys":            false,
			"ci.example/keys":              false,
			"https://ci.example/\n":        false,
			"":                             false,
		} {
			requests = 0
			w.provider.JWKSURI = address
			_, err := w.verify(t, w.good(t))
			if ok != (err == nil) || ok != (requests == 1) {
				t.Errorf("%q with loopback %t: %d requests, %v", address, insecure, requests, err)
			}
		}
	}
}

// nobody is believed who cannot prove the host's name by today's TLS.
func TestA190TLSIsVerified(t *testing.T) {
	t.Parallel()
	t.Run("a certificate of nobody known", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, jose.ES256)
		w.config.RootCAs = nil
		w.restart(t)
		w.wantUnreachable(t, w.good(t))
	})
	t.Run("another name", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, jose.ES256)
		w.provider.JWKSURI = strings.Replace(w.provider.JWKSURI, "127.0.0.1", "localhost", 1)
		w.config.Hosts = []string{"localhost"}
		w.restart(t)
		w.wantUnreachable(t, w.good(t))
	})
	t.Run("TLS 1.1", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, jose.ES256)
		old := httptest.NewUnstartedServer(http.NotFoundHandler())
		old.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		old.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
		old.StartTLS()
		t.Cleanup(old.Close)
		w.config.RootCAs.AddCert(old.Certificate())
		w.config.Hosts = []string{hostPort(old)}
		w.provider.JWKSURI = old.URL
		w.restart(t)
		c, err := w.verify(t, w.good(t))
		if e := wantReason(t, c, err, agentidp.CodeIssuerUnreachable); !strings.Contains(e.Error(), "protocol version") {
			t.Errorf("got %v", e)
		}
	})
}

func TestPlainHTTPOnLoopbackIsForDevelopment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	body := jwks(t, w.key)
	w.config.AllowInsecureLoopback = true
	w.restart(t)
	w.provider.JWKSURI = plainServer(t, body)
	w.mustVerify(t, w.good(t))
}

// answered is an answer that is what it should be.
func answered(body string) *http.Response {
	return &http.Response{StatusCode: 200, Status: "200 OK", Body: io.NopCloser(strings.NewReader(body))}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// drip is a body that gives a byte a second and never ends.
type drip struct{ ctx context.Context }

func (d drip) Read(p []byte) (int, error) {
	select {
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	}
}

func (drip) Close() error { return nil }

// zeros is a body that never ends and counts what is read of it.
type zeros struct{ read *int }

func (z zeros) Read(p []byte) (int, error) {
	*z.read += len(p)
	return len(p), nil
}

func (zeros) Close() error { return nil }

func TestABodyIsReadToItsLimitOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	read := 0
	w.config.SetTransport(roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Status: "200 OK", Body: zeros{&read}}, nil
	}))
	w.restart(t)
	w.wantUnreachable(t, w.good(t))
	if read != 256<<10+1 {
		t.Errorf("read %d bytes", read)
	}
}

// in a bubble time is what synctest says, and a goroutine that stays behind fails
// the test.
func TestA177SlowAnswers(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]roundTripper{
		"no answer": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
		"a byte a second for ever": func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Status: "200 OK", Body: drip{r.Context()}}, nil
		},
	} {
		w := newWorld(t, jose.ES256)
		token := w.good(t)
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w.config.SetTransport(answer)
				w.restart(t)
				began := time.Now()
				w.wantUnreachable(t, token)
				if d := time.Since(began); d != 5*time.Second {
					t.Errorf("gave up after %s", d)
				}

				// Close does not wait for what is under way.
				w.Advance(5 * time.Second)
				began = time.Now()
				time.AfterFunc(time.Second, w.verifier.Close)
				w.wantUnreachable(t, token)
				if d := time.Since(began); d != time.Second {
					t.Errorf("closed after %s", d)
				}
			})
		})
	}
}

func TestAnHonestTokenNeverWaitsForARefresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	token := w.good(t)
	body := string(jwks(t, w.key))
	synctest.Test(t, func(t *testing.T) {
		slow := false
		w.config.SetTransport(roundTripper(func(r *http.Request) (*http.Response, error) {
			if slow {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return answered(body), nil
		}))
		w.restart(t)
		w.mustVerify(t, token)
		slow = true
		w.Advance(5 * time.Minute)
		go func() {
			_, _ = w.verify(t, fakeSigned(`{"alg":"ES256","kid":"unknown"}`, `{"iss":"https://token.actions.githubusercontent.com"}`))
		}()
		synctest.Wait()
		w.wantFetches(t, 1) // counted when it ends
		began := time.Now()
		w.mustVerify(t, token)
		if d := time.Since(began); d != 0 {
			t.Errorf("waited %s", d)
		}
		w.verifier.Close()
		synctest.Wait()
		w.wantFetches(t, 2)
	})
}
