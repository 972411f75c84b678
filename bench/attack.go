package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// attackOptions say how attacks are measured.
type attackOptions struct {
	names string        // separated by commas, or all
	rate  int           // honest requests a second
	span  time.Duration // how long the honest are measured, alone and then during the attack
	pin   bool          // the server has the first CPU, and all others share the rest
}

// runAttacks measures each attack against a server of its own: what becomes of honest
// requests, which come at a fixed rate whatever the answers take, and what the attack
// costs the server.
func runAttacks(ctx context.Context, o *attackOptions) error {
	chosen, err := chosenAttacks(o.names)
	if err != nil {
		return err
	}
	ci, err := startIssuer(ctx)
	if err != nil {
		return err
	}
	fmt.Printf("%d honest requests a second, %v alone and %v during the attack\n", o.rate, o.span, o.span)
	fmt.Println("                        honest alone     during        failed of   attack's                          CPU µs  MiB before,")
	fmt.Println("attack              p50 ms   p99 ms   p50 ms   p99 ms      honest       1/s  answered                each  peak, after")
	for _, a := range chosen {
		if err := measureAttack(ctx, ci, &a, o); err != nil {
			return fmt.Errorf("%s: %w", a.name, err)
		}
	}
	return nil
}

func chosenAttacks(names string) ([]attack, error) {
	if names == "all" {
		return attacks, nil
	}
	var chosen []attack
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(attacks, func(a attack) bool { return a.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-attack: there is no %q; all, or some of %s", name, attackNames())
		}
		chosen = append(chosen, attacks[i])
	}
	return chosen, nil
}

func attackNames() string {
	var names []string
	for _, a := range attacks {
		names = append(names, a.name)
	}
	return strings.Join(names, ",")
}

func measureAttack(ctx context.Context, ci *issuer, a *attack, o *attackOptions) (err error) {
	cert, err := newCertificate()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cert.remove()) }()
	env := []string{"AGENTIDP_BENCH_ISSUER=" + ci.issuer, attackedVariable + "=true"}
	if a.tls {
		env = append(env, cert.env()...)
	}
	server, err := launch(ctx, placed(o.pin, serving), "server", nil, env...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	h, err := newHonest(ctx, ci, server, cert, 2*int(o.span.Seconds()*float64(o.rate))+o.rate)
	if err != nil {
		return err
	}
	defer h.close()
	plan, err := a.plan(ctx, ci, server)
	if err != nil {
		return err
	}
	plan.Address = server.ready.URL[strings.LastIndexByte(server.ready.URL, '/')+1:]
	if a.tls {
		plan.Certificate = cert.file()
	}
	if _, err := h.run(ctx, o.rate, time.Second); err != nil { // connections, caches, pages of memory
		return err
	}
	return compare(ctx, server, h, plan, a.name, o)
}

// compare runs the honest alone and beside the attack, and prints a line.
func compare(ctx context.Context, server *child, h *honest, plan *plan, name string, o *attackOptions) error {
	memory := watchMemory(server.cmd.Process.Pid)
	idle, err := server.usage()
	if err != nil {
		return err
	}
	alone, err := h.run(ctx, o.rate, o.span)
	if err != nil {
		return err
	}
	start, err := server.usage()
	if err != nil {
		return err
	}
	before := memory.now()
	attacker, err := startAttacker(ctx, plan, o.pin)
	if err != nil {
		return err
	}
	during, err := h.run(ctx, o.rate, o.span)
	done, stopErr := attacker.usage()
	end, usageErr := server.usage()
	if err := errors.Join(err, stopErr, usageErr, attacker.stop()); err != nil {
		return err
	}
	time.Sleep(2 * time.Second) // what the attack held is given up, and goes back to the system
	peak, after := memory.end()

	// What the honest cost is what they cost alone.
	cost := end.CPU - start.CPU - (start.CPU - idle.CPU)
	each := float64(cost.Microseconds()) / float64(max(done.attempts(), 1))
	fmt.Printf("%-18s %7.1f  %7.1f  %7.1f  %7.1f  %10s  %8.0f  %-22s %5.0f  %.0f, %.0f, %.0f\n", name,
		alone.ms(0.5), alone.ms(0.99), during.ms(0.5), during.ms(0.99), during.failures(),
		float64(done.attempts())/o.span.Seconds(), done.answers(), max(each, 0), before, peak, after)
	return nil
}

// part is what a process has in a measurement.
type part int

const (
	serving part = iota
	loading
	attacking
)

// placed returns the words before a command that put it where it belongs: the server on a
// processor of its own, the attacker behind the honest, whose waiting for the sender's own
// processor would be measured otherwise.
func placed(pin bool, p part) []string {
	var words []string
	if pin {
		cpus := "1-" + strconv.Itoa(runtime.NumCPU()-1)
		if p == serving {
			cpus = "0"
		}
		words = append(words, "taskset", "-c", cpus)
	}
	if p == attacking {
		words = append(words, "nice")
	}
	return words
}

// attempts is how many requests, or else connections, an attacker has made.
func (u *usage) attempts() (n int64) {
	for _, one := range u.Answered {
		n += one
	}
	return n
}

func (u *usage) answers() string {
	var all []string
	for _, status := range slices.Sorted(maps.Keys(u.Answered)) {
		share := 100 * float64(u.Answered[status]) / float64(u.attempts())
		name := strconv.Itoa(status)
		if status == 0 {
			name = "none"
		}
		all = append(all, fmt.Sprintf("%s %.0f%%", name, share))
	}
	return strings.Join(all, ", ")
}

// memory watches what of a process is in memory.
type memory struct {
	pid  int
	stop chan chan float64
}

func watchMemory(pid int) *memory {
	m := &memory{pid: pid, stop: make(chan chan float64)}
	go func() {
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		peak := 0.0
		for {
			select {
			case <-tick.C:
				peak = max(peak, m.now())
			case answer := <-m.stop:
				answer <- peak
				return
			}
		}
	}()
	return m
}

// now is in MiB; 0 where the system does not tell.
func (m *memory) now() float64 { return residentMemory(m.pid) }

func (m *memory) end() (peak, after float64) {
	answer := make(chan float64)
	m.stop <- answer
	return <-answer, m.now()
}
