package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// bench is one run: what it measures beside, and what it has measured.
type bench struct {
	ci      *issuer
	echo    *child
	crypto  *cryptoCost
	stories []story
	book    book

	only     string // what the names of stories have in them
	pin      bool   // the server has the first processor for itself
	levels   []int
	requests int
	flood    int
	nodes    int
	agents   int
	binary   string
	profile  string
}

// run measures on one engine after the other, and holds all against the goals.
func (b *bench) run(ctx context.Context, names []string) (err error) {
	if b.ci, err = startIssuer(ctx); err != nil {
		return err
	}
	if b.echo, err = startChild(ctx, b.pin, "echo"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.echo.stop()) }()
	if b.crypto, err = measureCrypto(b.ci, b.echo.ready.URL); err != nil {
		return err
	}
	fmt.Printf("verify a CI token %5.1f µs, sign an ES256 JWT %5.1f µs (one core)\n\n", b.crypto.verify, b.crypto.sign)
	var engines []*engine
	for _, name := range names {
		e, err := newEngine(ctx, name)
		if err != nil {
			return err
		}
		engines = append(engines, e)
		if err := b.runOn(ctx, e); err != nil {
			return err
		}
		b.profile = "" // the first's
	}
	b.book.print(engines)
	return nil
}

// runOn measures all that is measured of one engine.
func (b *bench) runOn(ctx context.Context, e *engine) error {
	if b.binary != "" {
		if err := b.measureProgram(ctx, e); err != nil {
			return err
		}
	}
	if err := b.runStories(ctx, e, 1); err != nil {
		return err
	}
	if b.nodes > 1 && e.server != nil {
		if err := b.runStories(ctx, e, b.nodes); err != nil {
			return err
		}
	}
	if b.agents > 0 {
		return b.measureScale(ctx, e)
	}
	return nil
}

func (b *bench) runStories(ctx context.Context, e *engine, nodes int) error {
	sys, err := startSystem(ctx, b.ci, e, systemOptions{nodes: nodes, pin: b.pin, profile: b.profile, productLimits: b.flood > 0})
	if err != nil {
		return err
	}
	for _, s := range b.stories {
		if !strings.Contains(s.name, b.only) || nodes > 1 && !s.nodes {
			continue
		}
		err = b.measure(ctx, &s, sys)
		if err == nil && s.name == exchanged && nodes == 1 && b.requests >= fewTokens {
			err = b.measureTokens(ctx, &s, sys)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", s.name, err)
			break
		}
	}
	return errors.Join(err, sys.stop(ctx))
}

const columns = "clients         1/s  p50 ms  p99 ms  p99.9 ms   CPU µs   echo µs    F µs  CPU/F  allocs   KiB  per commit  syncs    MiB\n"

// measure asks a story of a system, at each number of clients.
func (b *bench) measure(ctx context.Context, s *story, sys *system) error {
	title := fmt.Sprintf("%s, %s", s.name, sys.engine.name)
	if n := len(sys.nodes); n > 1 {
		title += fmt.Sprintf(", %d nodes", n)
	}
	fmt.Printf("%s\n%s", title, columns)
	for _, n := range b.levels {
		count := b.requests
		if n == 1 {
			count = b.requests / 4
		}
		send, err := s.ask(ctx, b.ci, sys.nodes[0], count)
		if err != nil {
			return err
		}
		if err := b.warmUp(ctx, s, sys, n); err != nil {
			return err
		}
		echoed, err := b.echoed(ctx, send, n)
		if err != nil {
			return err
		}
		got, err := load(ctx, sys.target(), send, n)
		if err != nil {
			return err
		}
		m := &measured{result: *got, floor: echoed.cpu + b.crypto.verify + b.crypto.sign}
		fmt.Printf("%7d  %10.0f  %6.2f  %6.2f  %8.2f  %7.1f  %8.1f  %6.1f  %5.2f  %6.0f  %4.1f  %10.1f  %5.3f  %5.1f\n",
			n, got.rate, got.p50, got.p99, got.p999, got.cpu, echoed.cpu, m.floor, m.times(), got.allocs, got.kib, got.perCommit, got.syncs, got.resident)
		if len(sys.nodes) == 1 {
			b.book.add(sys.engine.name, s.name, n, m)
		}
		if b.flood > 0 && s.flood {
			if err := measureFlood(ctx, b.ci, sys.nodes[0], n, count, b.flood); err != nil {
				return err
			}
		}
	}
	fmt.Println()
	return nil
}

// echoed sends the same to the server that answers with what it was sent.
func (b *bench) echoed(ctx context.Context, send *requests, clients int) (*result, error) {
	same := *send
	same.status = nil
	return load(ctx, only(b.echo), &same, clients)
}

// warmUp lets both servers open their connections and fill their caches.
func (b *bench) warmUp(ctx context.Context, s *story, sys *system, clients int) error {
	send, err := s.ask(ctx, b.ci, sys.nodes[0], max(200, clients*4))
	if err != nil {
		return err
	}
	if _, err := b.echoed(ctx, send, clients); err != nil {
		return err
	}
	_, err = sendAll(ctx, sys.target(), send, clients)
	time.Sleep(100 * time.Millisecond) // let the collector settle before counting
	return err
}

// Below fewTokens, what else comes to live weighs more than the tokens; manyTokens are asked.
const (
	fewTokens  = 2000
	manyTokens = 10_000
)

// measureTokens says what is held in memory for each token that lives, after the garbage
// is collected.
func (b *bench) measureTokens(ctx context.Context, s *story, sys *system) error {
	send, err := s.ask(ctx, b.ci, sys.nodes[0], manyTokens)
	if err != nil {
		return err
	}
	before, err := sys.nodes[0].collect()
	if err != nil {
		return err
	}
	if _, err := sendAll(ctx, sys.target(), send, 32); err != nil {
		return err
	}
	after, err := sys.nodes[0].collect()
	each := (float64(after.Heap) - float64(before.Heap)) / float64(len(send.bodies))
	fmt.Printf("%d more tokens live: %.0f bytes of memory each, %.1f MiB of the heap live in all\n\n", len(send.bodies), each, float64(after.Heap)/(1<<20))
	b.book.set(sys.engine.name+": "+perToken, each)
	return err
}
