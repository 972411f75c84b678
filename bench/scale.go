package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

// measureScale fills a server and compares it with one that is empty, in turns.
func (b *bench) measureScale(ctx context.Context, e *engine) (err error) {
	empty, err := startSystem(ctx, b.ci, e, systemOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, empty.stop(ctx)) }()
	full, err := startSystem(ctx, b.ci, e, systemOptions{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, full.stop(ctx)) }()
	some, err := b.fill(ctx, full)
	if err != nil {
		return err
	}
	if err := b.compareExchanges(ctx, empty, full, some); err != nil {
		return err
	}
	return compareLists(ctx, empty.nodes[0], full.nodes[0])
}

// fill writes agents and policies into the database of a system, starts the program on it
// if it is to be measured, and the system again.
func (b *bench) fill(ctx context.Context, full *system) ([]agentidp.TrustPolicy, error) {
	before := full.nodes[0].ready
	if err := full.stopNodes(); err != nil {
		return nil, err
	}
	fmt.Printf("%s with %d agents and %d policies\n", full.engine.name, b.agents, b.agents/10)
	begin := time.Now()
	some, err := fillStore(ctx, full.storeURL(), b.agents, b.agents/10)
	if err != nil {
		return nil, fmt.Errorf("fill the database: %w", err)
	}
	took := time.Since(begin)
	if full.url != "" { // as it does by itself a minute later
		if err := full.engine.server.analyze(ctx, full.url); err != nil {
			return nil, err
		}
	}
	size, err := full.size(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Printf("written in %.0f s (%.0f rows a second), %.0f MB on the disk\n", took.Seconds(), float64(b.agents+b.agents/10)/took.Seconds(), float64(size)/1e6)
	if b.binary != "" {
		s, err := measureStart(ctx, b.binary, full.place)
		if err != nil {
			return nil, err
		}
		fmt.Println("start:", s)
	}
	if err := full.startNode(ctx, b.ci, &systemOptions{again: true}); err != nil {
		return nil, err
	}
	now := &full.nodes[0].ready
	now.AgentID, now.Credential = before.AgentID, before.Credential
	return some, nil
}

// storeURL is that of the database, as the store takes it.
func (p *place) storeURL() string {
	if p.url != "" {
		return p.url
	}
	return "sqlite:" + p.file()
}

func (p *place) file() string { return filepath.Join(p.folder, "data", "agentidp.db") }

// size is what the database takes on the disk, in bytes.
func (p *place) size(ctx context.Context) (int64, error) {
	if p.url != "" {
		return p.engine.server.size(ctx, p.url)
	}
	info, err := os.Stat(p.file())
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// rounds is how often the servers take turns; the median of what each costs counts.
const rounds = 5

// compareExchanges compares exchanges of one repository, and then those of very many, for
// which nothing is remembered at first.
func (b *bench) compareExchanges(ctx context.Context, empty, full *system, some []agentidp.TrustPolicy) error {
	one := &b.stories[slices.IndexFunc(b.stories, func(s story) bool { return s.name == exchanged })]
	var alone, among []float64
	for round := range rounds + 1 {
		for _, s := range []*system{empty, full} {
			send, err := one.ask(ctx, b.ci, s.nodes[0], b.requests)
			if err != nil {
				return err
			}
			got, err := load(ctx, s.target(), send, 32)
			switch {
			case err != nil:
				return err
			case round == 0: // warms up
			case s == empty:
				alone = append(alone, got.cpu)
			default:
				among = append(among, got.cpu)
			}
		}
	}
	base := median(alone)
	fmt.Printf("exchanges, 32 clients, CPU µs: %.1f of an empty server, %.1f of this (%.2f times), medians of %d\n", base, median(among), median(among)/base, rounds)
	if b.agents == 1_000_000 {
		b.book.set(full.engine.name+": "+atScale, median(among)/base)
	}
	for _, what := range []string{"the first", "the second"} {
		send, err := b.ci.exchangesOf(full.nodes[0].ready.URL, some)
		if err != nil {
			return err
		}
		got, err := load(ctx, full.target(), send, 32)
		if err != nil {
			return err
		}
		fmt.Printf("%s exchange of each of %d repositories: %.1f (%.2f times), p99 %.1f ms\n", what, len(some), got.cpu, got.cpu/base, got.p99)
	}
	fmt.Printf("resident then: %.0f MiB, and %.0f of the empty server\n", full.target().resident(), empty.target().resident())
	return nil
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// lists are pages that administrators look at.
var lists = []struct {
	name string
	page func(ctx context.Context, c *client.Client, cursor string) (next string, err error)
}{
	{"agents", agentsOf(agentidp.AgentFilter{})},
	{"agents that are active", agentsOf(agentidp.AgentFilter{Status: agentidp.AgentActive})},
	{"agents that are suspended (none)", agentsOf(agentidp.AgentFilter{Status: agentidp.AgentSuspended})},
	{"agents of a name", agentsOf(agentidp.AgentFilter{Name: "bench@acme.example"})},
	{"policies", policiesOf(agentidp.PolicyFilter{})},
	{"policies of a repository", policiesOf(agentidp.PolicyFilter{Repository: benchRepository})},
	{"policies of a provider", policiesOf(agentidp.PolicyFilter{Provider: "github"})},
	{"policies that never matched", policiesOf(agentidp.PolicyFilter{NeverMatched: true})},
	{"policies in shadow mode (none)", policiesOf(agentidp.PolicyFilter{Mode: agentidp.ModeShadow})},
	{"policies that end within a year (none)", policiesOf(agentidp.PolicyFilter{ExpiresBefore: time.Now().AddDate(1, 0, 0)})},
	{"decisions", func(ctx context.Context, c *client.Client, cursor string) (string, error) {
		page, err := c.ListDecisions(ctx, agentidp.DecisionFilter{}, client.ListOptions{Cursor: cursor})
		if err != nil {
			return "", err
		}
		return page.NextCursor, nil
	}},
}

func agentsOf(f agentidp.AgentFilter) func(context.Context, *client.Client, string) (string, error) {
	return func(ctx context.Context, c *client.Client, cursor string) (string, error) {
		page, err := c.ListAgents(ctx, f, client.ListOptions{Cursor: cursor})
		if err != nil {
			return "", err
		}
		return page.NextCursor, nil
	}
}

func policiesOf(f agentidp.PolicyFilter) func(context.Context, *client.Client, string) (string, error) {
	return func(ctx context.Context, c *client.Client, cursor string) (string, error) {
		page, err := c.ListTrustPolicies(ctx, f, client.ListOptions{Cursor: cursor})
		if err != nil {
			return "", err
		}
		return page.NextCursor, nil
	}
}

// compareLists walks at most 40 pages of each list, and prints the median and the slowest.
func compareLists(ctx context.Context, empty, full *child) error {
	fmt.Println("\npages of 50, ms: median and slowest    empty           this")
	for _, l := range lists {
		fmt.Printf("%-36s", l.name)
		for _, c := range []*child{empty, full} {
			admin := &client.Client{BaseURL: c.ready.URL, Token: c.ready.AdminToken}
			var took []float64
			for cursor := ""; len(took) < 40; {
				begin := time.Now()
				next, err := l.page(ctx, admin, cursor)
				if err != nil {
					return fmt.Errorf("list %s: %w", l.name, err)
				}
				took, cursor = append(took, float64(time.Since(begin).Microseconds())/1000), next
			}
			fmt.Printf("  %5.1f, %5.1f ", median(took), took[len(took)-1])
		}
		fmt.Println()
	}
	fmt.Println()
	return nil
}
