package main

import (
	"fmt"
	"runtime/debug"
	"strings"
)

// measured is what a story cost at a number of clients, and its floor.
type measured struct {
	result
	floor float64
}

func (m *measured) times() float64 { return m.cpu / m.floor }

// book is all that a run has measured.
type book struct {
	stories map[entry]*measured
	values  map[string]float64 // what is no story, by its name
}

type entry struct {
	engine, story string
	clients       int
}

func (b *book) add(engine, story string, clients int, m *measured) {
	if b.stories == nil {
		b.stories = map[entry]*measured{}
	}
	b.stories[entry{engine, story, clients}] = m
}

func (b *book) set(name string, value float64) {
	if b.values == nil {
		b.values = map[string]float64{}
	}
	b.values[name] = value
}

// What is no story.
const (
	idleMemory   = "idle memory, MiB"
	startToReady = "start to ready, ms"
	perToken     = "memory per live token, bytes"
	atScale      = "CPU with 1,000,000 agents and 100,000 policies, one repository, times an empty server's"
	atScaleMany  = "the same, 5,000 repositories in turn, times a server's that has only those"
)

// million are the agents with which the goal of scale is measured.
const million = 1_000_000

// goal is what is to be reached.
type goal struct {
	what    string
	limit   float64
	stretch float64 // 0: none
	least   bool    // it is to be more than the limit
	got     func(*book) (float64, bool)
}

// referenceFloor is the F at which the goal of throughput was set; a machine whose F is
// another owes accordingly.
const referenceFloor = 114

func goals() []goal {
	all := []goal{
		of("SQLite", exchanged, 32, "CPU, times F", 2, 1.6, (*measured).times),
		of("PostgreSQL", exchanged, 32, "CPU, times F", 1.75, 1.4, (*measured).times),
	}
	for _, engine := range []string{"SQLite", "PostgreSQL"} {
		rate := of(engine, exchanged, 32, "a second, where F is 114 µs", 3500, 5000, func(m *measured) float64 { return m.rate * m.floor / referenceFloor })
		rate.least = true
		all = append(all, rate,
			of(engine, exchanged, 32, "p99 ms", 20, 14, func(m *measured) float64 { return m.p99 }),
			of(engine, exchanged, 1, "p50 ms", 1, 0.6, func(m *measured) float64 { return m.p50 }),
			of(engine, clientGranted, 32, "CPU, times F", 1.6, 1.2, (*measured).times),
			of(engine, askedByHolder, 32, "CPU, times F", 1.4, 1.1, (*measured).times),
			of(engine, askedByClient, 32, "CPU, times F", 1.4, 1.1, (*measured).times),
			of(engine, askedFirst, 32, "CPU, times F", 1.4, 1.1, (*measured).times),
			value(engine, perToken, 200, 0),
			of(engine, exchanged, 32, "syncs of the disk", 0.1, 0, func(m *measured) float64 { return m.syncs }),
			value(engine, idleMemory, 30, 0), value(engine, startToReady, 150, 0),
			value(engine, atScale, 1.15, 1.05), value(engine, atScaleMany, 1.15, 1.05))
	}
	return all
}

// of is a goal for a story.
func of(engine, story string, clients int, what string, limit, stretch float64, got func(*measured) float64) goal {
	return goal{fmt.Sprintf("%s: %s, %d clients: %s", engine, story, clients, what), limit, stretch, false, func(b *book) (float64, bool) {
		m := b.stories[entry{engine, story, clients}]
		if m == nil {
			return 0, false
		}
		return got(m), true
	}}
}

// value is a goal for what is no story.
func value(engine, name string, limit, stretch float64) goal {
	return goal{engine + ": " + name, limit, stretch, false, func(b *book) (float64, bool) {
		got, ok := b.values[engine+": "+name]
		return got, ok
	}}
}

// print says of each goal whether it is met. What was not measured is left out.
func (b *book) print(engines []*engine) {
	fmt.Printf("%-110s  %8s  %8s  %s\n", "goal", "measured", "goal", "met")
	for _, g := range goals() {
		got, ok := g.got(b)
		if !ok {
			continue
		}
		sign := "≤"
		if g.least {
			sign = "≥"
		}
		fmt.Printf("%-110s  %8.3g  %8s  %s\n", g.what, got, fmt.Sprintf("%s %v", sign, g.limit), g.met(got))
	}
	var versions []string
	for _, e := range engines {
		versions = append(versions, e.version())
	}
	fmt.Printf("\n%s%s\n", strings.Join(versions, ", "), modules())
}

func (g *goal) met(got float64) string {
	reached := func(limit float64) bool { return got <= limit != g.least || got == limit } //nolint:floatcompare // either bound is met by being equal
	switch {
	case !reached(g.limit):
		return "NO"
	case g.stretch != 0 && reached(g.stretch):
		return "yes, and the stretch"
	}
	return "yes"
}

// modules are the versions of the engines' drivers.
func modules() (text string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == "modernc.org/sqlite" || m.Path == "github.com/jackc/pgx/v5" {
			text += ", " + m.Path + " " + m.Version
		}
	}
	return text
}
