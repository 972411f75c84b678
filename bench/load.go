package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentryagent/agentidp"
)

// result is what one load cost, per request where nothing else is said.
type result struct {
	rate      float64 // requests a second
	p50, p99  float64 // ms
	cpu       float64 // µs of the server process
	allocs    float64
	kib       float64
	perCommit float64 // durable records in one commit
}

// requests are what a load sends.
type requests struct {
	path   string
	media  string
	by     *agentidp.CreatedCredential // who authenticates with HTTP Basic; nil: nobody
	bodies [][]byte
}

// load sends each body once, in a closed loop of so many clients with kept-alive
// connections, and takes the server's usage before and after.
func load(ctx context.Context, c *child, send *requests, clients int) (*result, error) {
	bodies := send.bodies
	transport := &http.Transport{MaxIdleConnsPerHost: clients, MaxConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	hc := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	latencies := make([]time.Duration, len(bodies))
	before, err := c.usage()
	if err != nil {
		return nil, err
	}
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	start := time.Now()
	for range clients {
		wg.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(bodies) {
					return
				}
				sent := time.Now()
				if _, err := post(ctx, hc, c.ready.URL+send.path, send, bodies[i]); err != nil {
					failed.Store(&err)
					return
				}
				latencies[i] = time.Since(sent)
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	after, err := c.usage()
	if err != nil {
		return nil, err
	}
	slices.Sort(latencies)
	n := float64(len(bodies))
	ms := func(quantile float64) float64 {
		return float64(latencies[int(quantile*(n-1))].Microseconds()) / 1000
	}
	r := &result{
		rate: n / elapsed.Seconds(), p50: ms(0.50), p99: ms(0.99),
		cpu:    float64((after.CPU - before.CPU).Microseconds()) / n,
		allocs: float64(after.Mallocs-before.Mallocs) / n, kib: float64(after.Bytes-before.Bytes) / n / 1024,
	}
	if batches := after.Batches - before.Batches; batches > 0 {
		r.perCommit = float64(after.Members-before.Members) / float64(batches)
	}
	return r, nil
}

func post(ctx context.Context, hc *http.Client, url string, send *requests, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", send.media)
	if send.by != nil {
		req.SetBasicAuth(send.by.ClientID, send.by.ClientSecret) // neither has what a form would encode
	}
	status, answer, err := do(hc, req)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("POST %s answered %d: %.300s", url, status, answer)
	}
	return answer, nil
}

func do(hc *http.Client, req *http.Request) (status int, answer []byte, err error) {
	resp, err := hc.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}
