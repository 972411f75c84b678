// Command bench measures what an exchange, a grant to a client and an introspection
// cost: CPU, allocations and memory of the server process, throughput, latency and how
// often the disk has to confirm, at several numbers of clients, with durable SQLite or
// PostgreSQL. Beside each, in the same run, it measures F, the floor: an HTTP echo of the
// same body, one verification of a CI token, and one ES256 JWT.
// Absolute figures depend on the machine; the ratio to F is what counts.
//
// It also starts the built program and reports start-up time, idle memory and
// size, compares a server with very many agents with an empty one, and says of each
// goal whether it is met. It is no test: it fails only when an answer is not as it has to be.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
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

	folderVariable    = "AGENTIDP_BENCH_FOLDER"    // of a server's data; none: one of its own
	joinVariable      = "AGENTIDP_BENCH_JOIN"      // the installation's address: another node has prepared it
	againVariable     = "AGENTIDP_BENCH_AGAIN"     // the data is there already
	unlimitedVariable = "AGENTIDP_BENCH_UNLIMITED" // refusals have no limit

	asideVariable = "AGENTIDP_BENCH_ASIDE" // the load is where -pin wants it

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
	on := flag.String("on", cmp.Or(os.Getenv("AGENTIDP_BENCH_DATABASE_URL"), "sqlite"), "databases, separated by commas: sqlite, postgres (one that is started for the run), postgres://USER@HOST/DATABASE (a new database on that server)")
	nodes := flag.Int("nodes", 1, "measure the exchange on so many nodes over one PostgreSQL as well")
	mixed := flag.String("mix", "10,10", "of a hundred exchanges of the mix, how many are of forged tokens and how many of used ones")
	agents := flag.Int("agents", 0, "measure beside an empty server one with so many agents, and a tenth as many policies")
	binary := flag.String("binary", "", "the built program, to measure its start, memory and size")
	flood := flag.Int("flood", 0, "measure each number of clients again while so many others, each of an address of its own, send tokens whose signature is noise")
	only := flag.String("only", "", "measure only what has this in its name")
	profile := flag.String("cpuprofile", "", "write a CPU profile of the server process, on the first of the databases, to this file")
	under := attackOptions{}
	flag.StringVar(&under.names, "attack", "", "measure nothing but what becomes of honest requests during these attacks, separated by commas, or all of them: "+attackNames())
	flag.IntVar(&under.rate, "rate", 100, "honest requests a second during an attack")
	flag.DurationVar(&under.span, "for", 10*time.Second, "how long an attack is measured, and as long without it")
	flag.BoolVar(&under.pin, "pin", false, "the server has the first processor for itself, and all others share the rest (taskset)")
	flag.Parse()
	if under.names != "" {
		return runAttacks(ctx, &under)
	}
	if under.pin && os.Getenv(asideVariable) == "" {
		return runAside(ctx)
	}
	m, err := parseMix(*mixed)
	if err != nil {
		return err
	}
	b := &bench{only: *only, pin: under.pin, binary: *binary, profile: *profile, nodes: *nodes, agents: *agents, stories: stories(m), requests: *requests, flood: *flood}
	if b.levels, err = parseLevels(*clients); err != nil {
		return err
	}
	fmt.Printf("%s %s/%s, GOMAXPROCS %d\n\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
	return b.run(ctx, strings.Split(*on, ","))
}

// runAside runs this command again, on all processors but the server's. An attack is
// measured without: there the honest load is so small that it may be anywhere.
func runAside(ctx context.Context) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	words := append(append(placed(true, loading), exe), os.Args[1:]...)
	c := exec.CommandContext(ctx, words[0], words[1:]...) //nolint:gosec // this program
	c.Env = append(os.Environ(), asideVariable+"=true")
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	return c.Run()
}

func parseLevels(text string) (levels []int, err error) {
	for field := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(field)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-clients: %q is not a list of positive numbers", text)
		}
		levels = append(levels, n)
	}
	return levels, nil
}
