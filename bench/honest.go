package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// honestRepositories share what is honest, so that none reaches the limit of one.
func honestRepositories() []string {
	var all []string
	for i := range 20 {
		all = append(all, fmt.Sprintf("acme/deploy-%d", i))
	}
	return all
}

// honest are those who do nothing wrong, each from an address of its own and over a new
// connection, as a job of CI comes: most exchange, some are clients, and some read keys.
type honest struct {
	server    *child
	exchanges *requests
	hc        *http.Client
	sent      int
	hosts     atomic.Uint32
	asked     []byte // an introspection
}

func newHonest(ctx context.Context, ci *issuer, server *child, cert *certificate, count int) (*honest, error) {
	exchanges, err := ci.exchanges(server.ready.URL, server.ready.AgentID, count, honestRepositories()...)
	if err != nil {
		return nil, err
	}
	h := &honest{server: server, exchanges: exchanges}
	h.hc = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: cert.roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialFrom(ctx, network, address, honestNetwork, h.hosts.Add(1)%5000)
		},
	}}
	token, err := granted(ctx, h.hc, server)
	h.asked = asked(token)
	return h, err
}

func (h *honest) close() { h.hc.CloseIdleConnections() }

// outcome is what became of the honest.
type outcome struct {
	took   []time.Duration // sorted; of those who failed too, since they waited as well
	failed map[string]int  // by what went wrong
}

// ms is a quantile in milliseconds.
func (o *outcome) ms(quantile float64) float64 {
	return float64(o.took[int(quantile*float64(len(o.took)-1))].Microseconds()) / 1000
}

func (o *outcome) failures() string {
	n := 0
	var what []string
	for _, why := range slices.Sorted(maps.Keys(o.failed)) {
		n += o.failed[why]
		what = append(what, fmt.Sprintf("%s: %d", why, o.failed[why]))
	}
	if n == 0 {
		return fmt.Sprintf("0 of %d", len(o.took))
	}
	return fmt.Sprintf("%d of %d (%s)", n, len(o.took), strings.Join(what, ", "))
}

// run sends requests at a fixed rate, also while answers are waited for: a closed loop
// would ask less when the server is slow, and so hide that it is (coordinated omission).
// Time counts from when a request was due.
func (h *honest) run(ctx context.Context, rate int, span time.Duration) (*outcome, error) {
	count := int(span.Seconds() * float64(rate))
	o := &outcome{took: make([]time.Duration, count), failed: map[string]int{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range count {
		due := begin.Add(time.Duration(i) * time.Second / time.Duration(rate))
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Until(due)):
		}
		req, err := h.request(ctx)
		if err != nil {
			return nil, err
		}
		wg.Go(func() {
			status, _, err := do(h.hc, req)
			o.took[i] = time.Since(due)
			if err == nil && status == http.StatusOK {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				o.failed[broken(err)]++
			} else {
				o.failed[fmt.Sprint(status)]++
			}
		})
	}
	wg.Wait()
	slices.Sort(o.took)
	return o, nil
}

// request returns the next: of ten, seven exchange, one is a client that gets a token,
// one asks about a token, and one reads the keys.
func (h *honest) request(ctx context.Context) (*http.Request, error) {
	h.sent++
	send, body, method := h.exchanges, []byte(nil), http.MethodPost
	switch h.sent % 10 {
	case 7:
		send = clientCredentials(&h.server.ready.Credential, 1)
		body = send.bodies[0]
	case 8:
		send, body = &requests{path: "/oauth2/introspect", media: mediaForm, by: &h.server.ready.Credential}, h.asked
	case 9:
		send, method = &requests{path: "/.well-known/jwks.json"}, http.MethodGet
	default:
		body, send.bodies = send.bodies[0], send.bodies[1:]
	}
	req, err := http.NewRequestWithContext(ctx, method, h.server.ready.URL+send.path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if send.media != "" {
		req.Header.Set("Content-Type", send.media)
	}
	if send.by != nil {
		req.SetBasicAuth(send.by.ClientID, send.by.ClientSecret)
	}
	return req, nil
}

// broken names what went wrong below HTTP.
func broken(err error) string {
	for _, what := range []string{"connection refused", "connection reset", "EOF", "Client.Timeout"} {
		if strings.Contains(err.Error(), what) {
			return what
		}
	}
	return "no answer"
}

// The networks of loopback that a measurement is made from; the server has 127.0.0.1.
const (
	honestNetwork   = 10
	attackerNetwork = 20
)

// dialFrom dials from one of the 65,536 addresses of a network (Linux: 127.0.0.0/8 is all
// this machine's).
func dialFrom(ctx context.Context, network, address string, from byte, host uint32) (net.Conn, error) {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, from, byte(host>>8), byte(host))}, Timeout: 10 * time.Second} //nolint:gosec // as many addresses as there are
	return d.DialContext(ctx, network, address)
}
