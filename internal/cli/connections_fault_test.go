//go:build failpoints

package cli

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	mathrand "math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sentryagent/agentidp/internal/pace"
	"github.com/sentryagent/agentidp/internal/pgtest"
)

// others take every connection that PostgreSQL has, and the two servers lose theirs
// in the midst of their work. Nothing is granted that is not written, nothing is done
// twice, what needs no database is served, and when there are connections again, so is
// everything.
func TestR12NoConnectionIsLeft(t *testing.T) {
	t.Parallel()
	c := pgtest.NewCluster(t, "max_connections=32")
	for _, role := range []string{"agentidp", "others"} {
		c.Exec("CREATE ROLE " + role + " LOGIN")
	}
	c.Exec("CREATE DATABASE crowded OWNER agentidp")
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	nodes := startNodes(t, 2, "AGENTIDP_DATABASE_URL="+strings.Replace(c.URL("crowded"), "postgres@", "agentidp@", 1),
		"AGENTIDP_MASTER_KEY="+base64.StdEncoding.EncodeToString(key))
	token := nodes[0].program("admin", "token")
	l := newLedger(nodes[0], token)
	seed := mathrand.Uint64()
	t.Logf("seed %d", seed)
	workers := l.crowd(seed)
	for k, w := range workers {
		w.admin = nodes[k%len(nodes)].client(token)
	}
	for range often(10, 2) {
		o := &others{url: strings.Replace(c.URL("postgres"), "postgres@", "others@", 1)}
		l.underLoad(t, workers, 20*time.Millisecond, func() {
			o.takeAll(t)
			o.rob(t, c.URL("postgres"))
		})
		for _, w := range workers {
			unavailable(t, w.doubt.name, w.why)
		}
		for _, node := range nodes {
			for _, path := range []string{"/healthz", "/.well-known/jwks.json"} {
				if status := node.status(path); status != http.StatusOK {
					t.Errorf("%s: %d, want 200", path, status)
				}
			}
		}
		o.leave()
		for _, node := range nodes {
			pace.Eventually(t, "the server is ready again", func() bool { return node.status("/readyz") == http.StatusOK })
		}
		for _, w := range workers {
			if err := w.settle(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	l.finish(t)
	t.Logf("%d writes answered, %d exchanges whose answer was lost", l.total(), len(l.untold))
}

// others hold every connection that they can get.
type others struct {
	url     string
	leaving chan struct{}
	wg      sync.WaitGroup
}

// takeAll returns when there is none left; each that becomes free is taken.
func (o *others) takeAll(t *testing.T) {
	t.Helper()
	o.leaving = make(chan struct{})
	full := make(chan struct{})
	o.wg.Go(func() {
		ctx := context.WithoutCancel(t.Context())
		var held []*pgx.Conn
		defer func() {
			for _, conn := range held {
				_ = conn.Close(ctx)
			}
		}()
		for filled := false; ; {
			conn, err := pgx.Connect(ctx, o.url)
			if err == nil {
				held = append(held, conn)
				continue
			}
			if !filled {
				filled = true
				close(full)
			}
			select {
			case <-o.leaving:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	<-full
}

// rob ends the servers' connections until the others have those, too: a server that is
// faster than they are gets one back, and works on.
func (o *others) rob(t *testing.T, as string) {
	t.Helper()
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, as)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	pace.Eventually(t, "others have every connection", func() bool {
		free, full := pgx.Connect(ctx, o.url)
		if full == nil {
			_ = free.Close(ctx)
		}
		var ended int
		if err := conn.QueryRow(ctx, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'agentidp'").Scan(&ended); err != nil {
			t.Fatal(err)
		}
		return full != nil && ended == 0
	})
}

func (o *others) leave() {
	close(o.leaving)
	o.wg.Wait()
}
