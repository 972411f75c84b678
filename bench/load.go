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
	rate           float64 // requests a second
	p50, p99, p999 float64 // ms
	cpu            float64 // µs of the server processes
	allocs         float64
	kib            float64
	perCommit      float64 // durable records in one commit
	syncs          float64 // of the database's files
	resident       float64 // MiB of the server processes, at the end; in all
}

// requests are what a load sends.
type requests struct {
	path   string
	media  string
	by     *agentidp.CreatedCredential // who authenticates with HTTP Basic; nil: nobody
	bodies [][]byte
	status []int // that each body is answered; nil: 200
}

// wanted is the status that a body has to be answered.
func (r *requests) wanted(body int) int {
	if r.status == nil {
		return http.StatusOK
	}
	return r.status[body]
}

// load sends each body once, in a closed loop of so many clients with kept-alive
// connections, each to one of the nodes, and takes their usage before and after.
func load(ctx context.Context, to *target, send *requests, clients int) (*result, error) {
	syncsBefore, err := to.synced(ctx)
	if err != nil {
		return nil, err
	}
	before, err := to.usage()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	latencies, err := sendAll(ctx, to, send, clients)
	elapsed := time.Since(start)
	if err != nil {
		return nil, err
	}
	after, err := to.usage()
	if err != nil {
		return nil, err
	}
	resident := to.resident()
	syncsAfter, err := to.synced(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(latencies)
	n := float64(len(latencies))
	ms := func(quantile float64) float64 {
		return float64(latencies[int(quantile*(n-1))].Microseconds()) / 1000
	}
	r := &result{
		rate: n / elapsed.Seconds(), p50: ms(0.50), p99: ms(0.99), p999: ms(0.999),
		cpu:    float64((after.CPU - before.CPU).Microseconds()) / n,
		allocs: float64(after.Mallocs-before.Mallocs) / n, kib: float64(after.Bytes-before.Bytes) / n / 1024,
		syncs: float64(after.Syncs-before.Syncs+syncsAfter-syncsBefore) / n, resident: resident,
	}
	if batches := after.Batches - before.Batches; batches > 0 {
		r.perCommit = float64(after.Members-before.Members) / float64(batches)
	}
	return r, nil
}

// sendAll returns how long each answer took.
func sendAll(ctx context.Context, to *target, send *requests, clients int) ([]time.Duration, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: clients, MaxConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	hc := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	latencies := make([]time.Duration, len(send.bodies))
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for client := range clients {
		url := to.nodes[client%len(to.nodes)].ready.URL + send.path
		wg.Go(func() {
			for failed.Load() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(send.bodies) {
					return
				}
				sent := time.Now()
				if _, err := post(ctx, hc, url, send, i); err != nil {
					failed.Store(&err)
					return
				}
				latencies[i] = time.Since(sent)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	return latencies, nil
}

// post sends one of the bodies.
func post(ctx context.Context, hc *http.Client, url string, send *requests, body int) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(send.bodies[body]))
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
	if want := send.wanted(body); status != want {
		return nil, fmt.Errorf("POST %s answered %d and not %d: %.300s", url, status, want, answer)
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
