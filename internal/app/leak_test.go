package app

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/pace"
)

// very many requests, and a tenth as many that are broken off in every place where a
// client can leave, and there are as many goroutines and files as before. Not parallel: it
// counts those of the process.
func TestR23NothingIsLeftOfVeryManyRequests(t *testing.T) {
	pace.Slow(t)
	requests := 10_000
	if pace.Long() {
		requests = 1_000_000
	}
	s := &soak{forger: newForger(t, func(c *config.Config) { c.AddressRequestsPerMinute, c.AddressFailuresPerMinute = 0, 0 })}
	s.warm()
	before := s.sample(0)
	const workers = 8
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() { errs[worker] = s.comeAndGo(requests / workers) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	var after sample
	pace.Eventually(t, "as few goroutines and files as before", func() bool {
		http.DefaultClient.CloseIdleConnections()
		runtime.GC()
		after = s.sample(0)
		return after.goroutines <= before.goroutines && after.files <= before.files
	})
	t.Logf("%d requests, %d broken off: goroutines %d, then %d; files %d, then %d; heap %d KiB, then %d",
		requests, requests/10, before.goroutines, after.goroutines, before.files, after.files, before.heap>>10, after.heap>>10)
	s.becomes(s.signed(), "granted")
}

// comeAndGo sends requests of all sorts; of every eleven one does not wait for its end.
func (s *soak) comeAndGo(requests int) error {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	garbage := `{"token":"x.y.z","agentId":"` + s.agentID + `"}`
	paths := []string{"/.well-known/jwks.json", "/healthz", "/.well-known/openid-configuration"}
	for i := range requests {
		switch {
		case i%100 == 0:
			if _, err := s.asks(200, "POST", exchangePath, "", exchangeBody(s.signed(), s.agentID)); err != nil {
				return err
			}
		case i%4 == 0:
			resp, err := client.Get(s.url + paths[i/4%len(paths)])
			if err != nil {
				return err
			}
			_, _ = io.Copy(io.Discard, resp.Body) // what it was is no matter
			resp.Body.Close()
		default:
			send := s.hand // which needs no connection and is faster
			if i%5 == 0 {
				send = s.post
			}
			if status, err := send(client, garbage); err != nil || status != http.StatusUnauthorized {
				return fmt.Errorf("%d, %w", status, err)
			}
		}
		if i%10 == 0 {
			if err := s.leaves(client, i/10); err != nil {
				return err
			}
		}
	}
	return nil
}

// leaves breaks a request off: in the header, in the body, before the answer, in it.
func (s *soak) leaves(client *http.Client, n int) error {
	whole := "POST " + exchangePath + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n" + strings.Repeat(" ", 100)
	switch n % 5 {
	case 0: // while it is worked on
		ctx, cancel := context.WithCancel(s.t.Context())
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+exchangePath, strings.NewReader(`{"token":"`+s.signed()+`"}`))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		go cancel()
		if resp, err := client.Do(req); err == nil {
			resp.Body.Close()
		}
		return nil
	case 1:
		whole = whole[:40]
	case 2:
		whole = whole[:len(whole)-50]
	case 3: // and no answer is read
	default:
		whole = "GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
	}
	conn, err := net.Dial("tcp", s.app.Address())
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = io.WriteString(conn, whole)
	return err
}
