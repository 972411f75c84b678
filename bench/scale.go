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

// measureScale fills a server and compares it, in turns, with one that is empty, and with
// one that has no more than what is exchanged.
func (b *bench) measureScale(ctx context.Context, e *engine) (err error) {
	var systems [3]*system
	for i := range systems {
		if systems[i], err = startSystem(ctx, b.ci, e, systemOptions{pin: b.pin}); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, systems[i].stop(ctx)) }()
	}
	empty, few, full := systems[0], systems[1], systems[2]
	fewOf, err := b.fill(ctx, few, min(someOf, b.agents/10), min(someOf, b.agents/10))
	if err != nil {
		return err
	}
	someOfAll, err := b.fill(ctx, full, b.agents, b.agents/10)
	if err != nil {
		return err
	}
	if err := b.compareOne(ctx, empty, full); err != nil {
		return err
	}
	if err := b.compareMany(ctx, few, full, fewOf, someOfAll); err != nil {
		return err
	}
	fmt.Printf("resident then: %.0f MiB, %.0f of the server with few, %.0f of the empty one\n", full.target().resident(), few.target().resident(), empty.target().resident())
	return compareLists(ctx, empty.nodes[0], full.nodes[0])
}

// fill writes agents and policies into the database of a system, starts the program on it
// if it is to be measured, and the system again.
func (b *bench) fill(ctx context.Context, s *system, agents, policies int) ([]agentidp.TrustPolicy, error) {
	before := s.nodes[0].ready
	if err := s.stopNodes(); err != nil {
		return nil, err
	}
	begin := time.Now()
	some, err := fillStore(ctx, s.storeURL(), agents, policies)
	if err != nil {
		return nil, fmt.Errorf("fill the database: %w", err)
	}
	took := time.Since(begin)
	if s.url != "" { // as it does by itself a minute later
		if err := s.engine.server.analyze(ctx, s.url); err != nil {
			return nil, err
		}
	}
	size, err := s.size(ctx)
	if err != nil {
		return nil, err
	}
	fmt.Printf("%s with %d agents and %d policies: written in %.0f s, %.0f MB on the disk\n", s.engine.name, agents, policies, took.Seconds(), float64(size)/1e6)
	if b.binary != "" {
		started, err := measureStart(ctx, b.binary, s.place)
		if err != nil {
			return nil, err
		}
		fmt.Println("the program:", started)
	}
	if err := s.startNode(ctx, b.ci, &systemOptions{again: true}); err != nil {
		return nil, err
	}
	now := &s.nodes[0].ready
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

// rounds is how often two servers take turns; the median of what each costs counts.
const rounds = 5

// compareOne compares exchanges of one repository.
func (b *bench) compareOne(ctx context.Context, empty, full *system) error {
	one := &b.stories[slices.IndexFunc(b.stories, func(s story) bool { return s.name == exchanged })]
	times, err := inTurns(ctx, "one repository, beside an empty server", [2]*system{empty, full}, func(s *system) (*requests, error) {
		return one.ask(ctx, b.ci, s.nodes[0], b.requests)
	})
	if b.agents == million {
		b.book.set(full.engine.name+": "+atScale, times)
	}
	return err
}

// compareMany compares exchanges of very many repositories, each in its turn.
func (b *bench) compareMany(ctx context.Context, few, full *system, fewOf, someOfAll []agentidp.TrustPolicy) error {
	times, err := inTurns(ctx, fmt.Sprintf("%d repositories in turn, beside a server that has no others", len(someOfAll)), [2]*system{few, full}, func(s *system) (*requests, error) {
		if s == few {
			return b.ci.exchangesOf(s.nodes[0].ready.URL, fewOf[:len(someOfAll)])
		}
		return b.ci.exchangesOf(s.nodes[0].ready.URL, someOfAll)
	})
	if b.agents == million {
		b.book.set(full.engine.name+": "+atScaleMany, times)
	}
	return err
}

// inTurns returns how many times as much the second of two servers costs, and prints what
// each does; the first round, in which nothing is remembered, apart.
func inTurns(ctx context.Context, what string, servers [2]*system, ask func(*system) (*requests, error)) (float64, error) {
	var first, later [2][]float64
	for round := range rounds + 1 {
		for i, s := range servers {
			send, err := ask(s)
			if err != nil {
				return 0, err
			}
			got, err := load(ctx, only(s.nodes[0]), send, 32)
			if err != nil {
				return 0, err
			}
			if round == 0 {
				first[i] = append(first[i], got.cpu)
			} else {
				later[i] = append(later[i], got.cpu)
			}
		}
	}
	times := median(later[1]) / median(later[0])
	fmt.Printf("%s: CPU of an exchange %.0f and %.0f µs (%.2f times, medians of %d); in the first round %.0f and %.0f (%.2f times)\n",
		what, median(later[0]), median(later[1]), times, rounds, first[0][0], first[1][0], first[1][0]/first[0][0])
	return times, nil
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
