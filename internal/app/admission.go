package app

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/api"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/limit"
	"github.com/sentryagent/agentidp/internal/oauth"
	"github.com/sentryagent/agentidp/internal/problem"
)

// maxAddresses is how many addresses are counted at once, some 200 bytes each.
const maxAddresses = 50_000

// patience is how long a request waits for a place, and queues how many times as many wait
// as are in work: who is turned away at once comes again at once, which costs more than to
// have him wait.
const (
	patience = 500 * time.Millisecond
	queues   = 16
)

// failing is which part of its failures an address has used up that comes last: fifteen, as
// it is by default.
const failing = 20

// connKey is under what a request's context has its connection.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, limit.ConnOf(c))
}

// admission decides which requests are worked on at all, before anything is spent on
// them. Health and readiness pass always, at the root: an organization has to be looked up.
type admission struct {
	requests *limit.Buckets[netip.Addr]
	failures *limit.Buckets[netip.Addr] // of requests that proved nothing
	foreign  *limit.Buckets[netip.Addr] // requests of pages: they use up nothing of their visitor's

	// A flood on one leaves the others their places.
	exchanges, grants, documents, others     *limit.Gate
	exchangeBodies, grantBodies, otherBodies *limit.Share[netip.Addr]
	exchangeTurns, grantTurns, otherTurns    *limit.Gate // at the processors; documents need none

	warned                        atomic.Bool // of a proxy that is not trusted
	requestLines, connectionLines limit.Sampler
}

// placesOf returns how many requests of a sort are in work at once.
func placesOf(l *config.Limits) int {
	if l.Concurrency == 0 {
		return max(128, 64*runtime.GOMAXPROCS(0))
	}
	return l.Concurrency
}

func newAdmission(l *config.Limits) *admission {
	places := placesOf(l)
	turns := 2 * runtime.GOMAXPROCS(0)
	return &admission{
		requests:  limit.New[netip.Addr]("requests-of-address", l.AddressRequestsPerMinute, maxAddresses),
		failures:  limit.New[netip.Addr]("failures-of-address", l.AddressFailuresPerMinute, maxAddresses),
		foreign:   limit.New[netip.Addr]("requests-of-address", l.AddressRequestsPerMinute, maxAddresses),
		exchanges: limit.NewGate(places, queues*places, patience),
		grants:    limit.NewGate(places, queues*places, patience),
		documents: limit.NewGate(places, queues*places, patience),
		others:    limit.NewGate(places, queues*places, patience),

		exchangeTurns: limit.NewGate(turns, places, requestTimeout),
		grantTurns:    limit.NewGate(turns, places, requestTimeout),
		otherTurns:    limit.NewGate(turns, places, requestTimeout),

		exchangeBodies: limit.NewShare[netip.Addr](readAheadTotal),
		grantBodies:    limit.NewShare[netip.Addr](readAheadTotal),
		otherBodies:    limit.NewShare[netip.Addr](readAheadTotal),
	}
}

// gate returns whose places a request takes; nil: none.
func (m *admission) gate(slug, rest string) *limit.Gate {
	switch {
	case slug == agentidp.DefaultOrganization && (rest == healthPath || rest == readyPath):
		return nil
	case rest == api.ExchangePath:
		return m.exchanges
	case rest == oauth.TokenPath:
		return m.grants
	case isDocument(rest):
		return m.documents
	}
	return m.others
}

// unread returns of what the bodies are taken that wait for a place.
func (m *admission) unread(gate *limit.Gate) *limit.Share[netip.Addr] {
	switch gate {
	case m.exchanges:
		return m.exchangeBodies
	case m.grants:
		return m.grantBodies
	}
	return m.otherBodies
}

// admit lets a request in, or says why not. What a page sends comes first, and then
// the address: it costs nothing to send one away for that.
func (a *App) admit(w *response, r *http.Request, slug, rest string) error {
	gate := a.entrance.gate(slug, rest)
	if gate == nil {
		w.begin()
		return nil
	}
	now, requests := a.clock(), a.entrance.requests
	if w.foreign = crossSite(r.Header, a.cfg.PublicURL); w.foreign {
		if gate != a.entrance.documents {
			w.early = true
			return errCrossSite()
		}
		requests = a.entrance.foreign
	}
	if state, ok := requests.Take(now, w.counted); !ok {
		w.early = true
		return limit.Refusal(state, "Too many requests came from your network address in a minute. Wait as long as Retry-After says; whoever operates the server sets the limit (AGENTIDP_ADDRESS_REQUESTS_PER_MINUTE).")
	}
	if gate != a.entrance.documents { // relying parties get keys, whoever shares their address
		state, ok := a.entrance.failures.Look(now, w.counted)
		if !ok {
			w.early = true
			return limit.Refusal(state, "Too many requests from your network address presented no acceptable token. Look for whatever sends them (the answers before this one say why), and wait as long as Retry-After says; whoever operates the server sets the limit (AGENTIDP_ADDRESS_FAILURES_PER_MINUTE).")
		}
		w.last = state.Remaining < state.Quota-state.Quota/failing
		if err := w.readAhead(r, a.entrance.unread(gate)); err != nil {
			return err
		}
	}
	w.begin()
	if !gate.Enter(r.Context(), w.last) {
		w.early = true
		return errLoad()
	}
	w.gate = gate
	return nil
}

func errLoad() error {
	e := agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable,
		"The server has more requests than it can work on, and turned this one away before it did anything. Try again in a moment, an exchange with a fresh ID token.")
	e.RetryAfter = time.Second
	return e
}

// turn waits until a request that was admitted has its turn at a processor, and returns it
// with what ends that when it waits for something else.
func (a *App) turn(w *response, r *http.Request) (*http.Request, error) {
	var turns *limit.Gate
	switch w.gate {
	case a.entrance.exchanges:
		turns = a.entrance.exchangeTurns
	case a.entrance.grants:
		turns = a.entrance.grantTurns
	case a.entrance.others:
		turns = a.entrance.otherTurns
	default:
		return r, nil
	}
	if !w.turn.Begin(r.Context(), turns, w.last) {
		w.early = true
		return nil, errLoad()
	}
	return r.WithContext(limit.WithTurn(r.Context(), &w.turn)), nil
}

// settle counts a request that proved nothing against its address, and one that is too large
// for anything, which costs more than most proofs. What is refused
// after a signature was proven is not: an honest repository's mistakes must not keep
// those from the door that share its address. Nor is what a page sends: whoever looks at
// it is not the sender. It gets documents, at which failures are not looked.
func (a *App) settle(w *response, trace *problem.Trace) {
	if w.early {
		a.metrics.TurnedAway(agentidp.AsError(trace.Err).Code)
	}
	if w.early || w.foreign {
		return
	}
	unproven := trace.Unproven
	if trace.Err != nil {
		e := agentidp.AsError(trace.Err)
		unproven = unproven || e.Kind == agentidp.TooLarge || e.Kind == agentidp.Unauthenticated && e.Reason == "" || e.Code == agentidp.CodeInvalidDPoPProof && e.DecisionID == ""
	}
	if unproven {
		a.metrics.Unproven()
		a.entrance.failures.Take(a.clock(), w.counted)
	}
}

// isDocument reports whether a path is a public document's.
func isDocument(rest string) bool {
	return strings.HasPrefix(rest, "/.well-known/") || strings.HasPrefix(rest, "/api/v1/openapi.") || rest == "/api/v1/docs"
}

// refusedConnection tells of connections that were closed for a limit.
func (a *App) refusedConnection(peer netip.Addr) {
	if before, ok := a.entrance.connectionLines.Due(a.clock()); ok {
		a.logger.Warn("a connection was closed: there are too many (AGENTIDP_MAX_CONNECTIONS, AGENTIDP_ADDRESS_CONNECTIONS)", "peer", peer, "not_logged_before", before)
	}
}
