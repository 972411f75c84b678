// Command bench measures what an exchange, a grant to a client and an introspection
// cost: CPU and allocations of the server process, throughput and latency, at several
// numbers of clients, with durable SQLite. Beside each, in the same run, it measures F,
// the floor: an HTTP echo of the same body, one verification of a CI token, and one
// ES256 JWT.
// Absolute figures depend on the machine; the ratio to F is what counts.
//
// It also starts the built program and reports start-up time, idle memory and
// size. It is no test: it fails only when a request is refused.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// role says which process this is: the program starts itself as server and echo,
// so that their CPU is counted apart from the load's.
const (
	roleVariable    = "AGENTIDP_BENCH_ROLE"
	profileVariable = "AGENTIDP_BENCH_CPUPROFILE"

	attackedVariable    = "AGENTIDP_BENCH_ATTACKED" // the limits are the product's
	certificateVariable = "AGENTIDP_BENCH_CERTIFICATE"
	keyVariable         = "AGENTIDP_BENCH_KEY"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	var err error
	switch role := os.Getenv(roleVariable); role {
	case "server":
		err = serve(ctx)
	case "echo":
		err = echo(ctx)
	case "attacker":
		err = attackerMain(ctx)
	default:
		err = run(ctx)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	clients := flag.String("clients", "1,8,32,64", "numbers of clients, separated by commas")
	requests := flag.Int("requests", 6000, "requests for each number of clients above one (one client makes a quarter)")
	binary := flag.String("binary", "", "the built program, to measure its start, memory and size")
	flood := flag.Int("flood", 0, "measure each number of clients again while so many others, each of an address of its own, send tokens whose signature is noise")
	only := flag.String("only", "", "measure only what has this in its name")
	profile := flag.String("cpuprofile", "", "write a CPU profile of the server process to this file")
	under := attackOptions{}
	flag.StringVar(&under.names, "attack", "", "measure nothing but what becomes of honest requests during these attacks, separated by commas, or all of them: "+attackNames())
	flag.IntVar(&under.rate, "rate", 100, "honest requests a second during an attack")
	flag.DurationVar(&under.span, "for", 10*time.Second, "how long an attack is measured, and as long without it")
	flag.BoolVar(&under.pin, "pin", false, "the attacked server has the first processor for itself (taskset)")
	flag.Parse()
	if under.names != "" {
		return runAttacks(ctx, &under)
	}
	var levels []int
	for field := range strings.SplitSeq(*clients, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 {
			return fmt.Errorf("-clients: %q is not a list of positive numbers", *clients)
		}
		levels = append(levels, n)
	}
	fmt.Printf("%s %s/%s, GOMAXPROCS %d\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
	if *binary != "" {
		if err := measureProgram(ctx, *binary); err != nil {
			return err
		}
	}
	ci, err := startIssuer(ctx)
	if err != nil {
		return err
	}
	server, err := startChild(ctx, "server", "AGENTIDP_BENCH_ISSUER="+ci.issuer, profileVariable+"="+*profile)
	if err != nil {
		return err
	}
	echo, err := startChild(ctx, "echo")
	if err != nil {
		return errors.Join(err, server.stop())
	}
	err = measure(ctx, ci, server, echo, levels, *only, *requests, *flood)
	return errors.Join(err, echo.stop(), server.stop())
}

func measure(ctx context.Context, ci *issuer, server, echo *child, levels []int, only string, requests, flood int) error {
	crypto, err := measureCrypto(ci, server.ready.URL)
	if err != nil {
		return err
	}
	fmt.Printf("verify a CI token %5.1f µs, sign an ES256 JWT %5.1f µs (one core)\n\n", crypto.verify, crypto.sign)
	for _, story := range stories {
		if !strings.Contains(story.name, only) {
			continue
		}
		if err := measureStory(ctx, &story, ci, server, echo, crypto, levels, requests, flood); err != nil {
			return fmt.Errorf("%s: %w", story.name, err)
		}
	}
	return nil
}

// story is something that is asked of the server, again and again.
type story struct {
	name  string
	ask   func(ctx context.Context, ci *issuer, server *child, count int) (*requests, error)
	flood bool // it is measured again under a flood
}

var stories = []story{
	{name: "exchange of a CI token", flood: true, ask: func(_ context.Context, ci *issuer, server *child, count int) (*requests, error) {
		return ci.exchanges(server.ready.URL, server.ready.AgentID, count)
	}},
	{name: "client_credentials with a secret", ask: func(_ context.Context, _ *issuer, server *child, count int) (*requests, error) {
		return clientCredentials(&server.ready.Credential, count), nil
	}},
	{name: "introspection by whoever has the token", ask: func(ctx context.Context, _ *issuer, server *child, count int) (*requests, error) {
		return introspections(ctx, server, nil, count)
	}},
	{name: "introspection by a client with a secret", ask: func(ctx context.Context, _ *issuer, server *child, count int) (*requests, error) {
		return introspections(ctx, server, &server.ready.Credential, count)
	}},
}

func measureStory(ctx context.Context, s *story, ci *issuer, server, echo *child, crypto *cryptoCost, levels []int, requests, flood int) error {
	fmt.Printf("%s\nclients         1/s  p50 ms  p99 ms   CPU µs   echo µs    F µs  CPU/F  allocs   KiB  per commit\n", s.name)
	for _, n := range levels {
		count := requests
		if n == 1 {
			count = requests / 4
		}
		send, err := s.ask(ctx, ci, server, count)
		if err != nil {
			return err
		}
		if err := warmUp(ctx, s, ci, server, echo, n); err != nil {
			return err
		}
		echoed, err := load(ctx, echo, send, n)
		if err != nil {
			return err
		}
		got, err := load(ctx, server, send, n)
		if err != nil {
			return err
		}
		floor := echoed.cpu + crypto.verify + crypto.sign
		fmt.Printf("%7d  %10.0f  %6.2f  %6.2f  %7.1f  %8.1f  %6.1f  %5.2f  %6.0f  %4.1f  %10.1f\n",
			n, got.rate, got.p50, got.p99, got.cpu, echoed.cpu, floor, got.cpu/floor, got.allocs, got.kib, got.perCommit)
		if flood > 0 && s.flood {
			if err := measureFlood(ctx, ci, server, n, count, flood); err != nil {
				return err
			}
		}
	}
	fmt.Println()
	return nil
}

// warmUp lets both servers open their connections and fill their caches.
func warmUp(ctx context.Context, s *story, ci *issuer, server, echo *child, clients int) error {
	send, err := s.ask(ctx, ci, server, max(200, clients*4))
	if err != nil {
		return err
	}
	if _, err := load(ctx, echo, send, clients); err != nil {
		return err
	}
	_, err = load(ctx, server, send, clients)
	time.Sleep(100 * time.Millisecond) // let the collector settle before counting
	return err
}
