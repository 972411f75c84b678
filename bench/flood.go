package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentryagent/agentidp/internal/emulator"
)

// measureFlood measures the honest load again while others flood the server with
// tokens that are authentic in all but the signature, the dearest that anybody can
// make. Every exchange of the honest must be granted.
func measureFlood(ctx context.Context, ci *issuer, server *child, clients, count, floods int) error {
	forged, err := ci.forged(server.ready.URL)
	if err != nil {
		return err
	}
	send, err := ci.exchanges(server.ready.URL, server.ready.AgentID, count)
	if err != nil {
		return err
	}
	flooding, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var answered [600]atomic.Int64 // by status
	for i := range floods {
		wg.Go(func() { flood(flooding, server.ready.URL, fmt.Sprintf("198.51.100.%d", i%250+1), forged, answered[:]) })
	}
	got, err := load(ctx, only(server), send, clients)
	stop()
	wg.Wait()
	if err != nil {
		return fmt.Errorf("during the flood: %w", err)
	}
	var statuses []string
	for status := range answered {
		if n := answered[status].Load(); n > 0 {
			statuses = append(statuses, fmt.Sprintf("%d: %d", status, n))
		}
	}
	fmt.Printf("  flood  %11.0f  %6.2f  %6.2f  from %d others, answered %s\n", got.rate, got.p50, got.p99, floods, strings.Join(statuses, ", "))
	return nil
}

// forged is the body of an exchange whose token has noise for a signature.
func (i *issuer) forged(audience string) ([]byte, error) {
	token, err := i.Mint(emulator.Options{Audience: audience})
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]string{"token": forge(token, 256)})
}

// flood sends the same body again and again, as from an address, until ctx is done.
func flood(ctx context.Context, url, address string, body []byte, answered []atomic.Int64) {
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	hc := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	for ctx.Err() == nil {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/v1/oidc/token", bytes.NewReader(body))
		if err != nil {
			return
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Forwarded-For", address)
		if status, _, err := do(hc, req); err == nil {
			answered[status].Add(1)
		}
	}
}
