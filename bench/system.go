package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// place is where a system keeps what it has: a database of its own.
type place struct {
	engine *engine
	folder string // of the nodes' data; the database too, where it is SQLite
	url    string // of the database; empty: SQLite's in the folder
	master string // the master key that the nodes of PostgreSQL share
}

func newPlace(ctx context.Context, e *engine) (p *place, err error) {
	p = &place{engine: e}
	if p.folder, err = os.MkdirTemp("", "agentidp-bench-"); err != nil {
		return nil, err
	}
	if e.server != nil {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // it never fails
		p.master = base64.StdEncoding.EncodeToString(key)
		p.url, err = e.server.createDatabase(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.folder))
	}
	return p, nil
}

func (p *place) remove(ctx context.Context) error {
	err := os.RemoveAll(p.folder)
	if p.url != "" {
		err = errors.Join(err, p.engine.server.dropDatabase(ctx, p.url))
	}
	return err
}

// system is what is measured: a place, and the nodes over it.
type system struct {
	*place
	nodes []*child
}

// systemOptions say what is not usual of a system.
type systemOptions struct {
	nodes         int    // 0: one
	profile       string // file for a CPU profile of the first node
	productLimits bool   // refusals are limited as the product does
	again         bool   // the data is there already
	pin           bool   // the nodes have the first processor for themselves
}

// startSystem makes a database with one agent and its policy, and starts the nodes.
func startSystem(ctx context.Context, ci *issuer, e *engine, o systemOptions) (_ *system, err error) {
	p, err := newPlace(ctx, e)
	if err != nil {
		return nil, err
	}
	s := &system{place: p}
	for range max(1, o.nodes) {
		if err == nil {
			err = s.startNode(ctx, ci, &o)
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.stop(ctx))
	}
	return s, nil
}

// startNode starts one more. The first prepares what the load needs; it is the
// installation's address for all.
func (s *system) startNode(ctx context.Context, ci *issuer, o *systemOptions) error {
	env := []string{
		"AGENTIDP_BENCH_ISSUER=" + ci.issuer, "AGENTIDP_BENCH_DATABASE_URL=" + s.url, "AGENTIDP_BENCH_MASTER_KEY=" + s.master,
		folderVariable + "=" + filepath.Join(s.folder, fmt.Sprint("node", len(s.nodes))),
	}
	if s.url == "" {
		env[len(env)-1] = folderVariable + "=" + s.folder
	}
	if !o.productLimits {
		env = append(env, unlimitedVariable+"=true")
	}
	if o.again {
		env = append(env, againVariable+"=true")
	}
	if len(s.nodes) == 0 {
		env = append(env, profileVariable+"="+o.profile)
	} else {
		env = append(env, joinVariable+"="+s.nodes[0].ready.URL)
	}
	c, err := startChild(ctx, o.pin, "server", env...)
	if err != nil {
		return err
	}
	if len(s.nodes) > 0 {
		own := c.ready.URL
		c.ready = s.nodes[0].ready
		c.ready.URL = own
	}
	s.nodes = append(s.nodes, c)
	return nil
}

func (s *system) stopNodes() (err error) {
	for _, c := range s.nodes {
		err = errors.Join(err, c.stop())
	}
	s.nodes = nil
	return err
}

// stop ends the nodes and removes what they wrote.
func (s *system) stop(ctx context.Context) error {
	return errors.Join(s.stopNodes(), s.remove(ctx))
}

// target is where a load goes.
type target struct {
	nodes []*child
	syncs func(context.Context) (int64, error) // so far; nil: they count their own
}

func only(c *child) *target { return &target{nodes: []*child{c}} }

func (s *system) target() *target {
	if s.engine.server == nil {
		return &target{nodes: s.nodes}
	}
	return &target{nodes: s.nodes, syncs: s.walSyncs}
}

// usage is what the nodes have used so far, together.
func (t *target) usage() (all usage, err error) {
	for _, c := range t.nodes {
		u, err := c.usage()
		if err != nil {
			return all, err
		}
		all.CPU, all.Mallocs, all.Bytes = all.CPU+u.CPU, all.Mallocs+u.Mallocs, all.Bytes+u.Bytes
		all.Batches, all.Members, all.Syncs = all.Batches+u.Batches, all.Members+u.Members, all.Syncs+u.Syncs
	}
	return all, nil
}

// synced is how often the database has synchronized its files, where its nodes do not
// count that.
func (t *target) synced(ctx context.Context) (int64, error) {
	if t.syncs == nil {
		return 0, nil
	}
	return t.syncs(ctx)
}

// resident is what of the nodes is in memory, in MiB; 0 where the system does not tell.
func (t *target) resident() (mib float64) {
	for _, c := range t.nodes {
		mib += residentMemory(c.cmd.Process.Pid)
	}
	return mib
}

// walSyncs reads how often PostgreSQL has synchronized its log. Each connection tells of
// its own when a transaction ends and a second has passed since it last did, so each node
// makes one more grant, which is counted in each reading alike.
func (s *system) walSyncs(ctx context.Context) (int64, error) {
	time.Sleep(1100 * time.Millisecond)
	for _, c := range s.nodes {
		if _, err := granted(ctx, http.DefaultClient, c); err != nil {
			return 0, err
		}
	}
	n, err := s.engine.server.walSyncs(ctx)
	return n - int64(len(s.nodes)), err
}
