//go:build failpoints

package cli

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/pace"
	"github.com/sentryagent/agentidp/internal/pgtest"
)

const (
	// wellWithin is how long after PostgreSQL is back something may still fail; it is half
	// a second, and more where the machine is busy.
	wellWithin = 3 * time.Second
	// toldWithin is how long a request waits for a PostgreSQL that is gone: two seconds, and
	// three for a machine that has something else to do; without the watch it would be ten.
	toldWithin = 2*time.Second + 3*time.Second
)

// outage is an installation over a PostgreSQL that breaks, and those who use it meanwhile.
type outage struct {
	*ledger
	t       *testing.T
	workers []*worker

	mu       sync.Mutex
	failures []failure
}

// failure is a request that was told to come again.
type failure struct {
	at   time.Time
	took time.Duration
	err  error
}

// newOutage starts a server on a database by its URL, and a crowd that writes.
func newOutage(t *testing.T, url string) *outage {
	t.Helper()
	key := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	i := newInstallation(t, "AGENTIDP_DATABASE_URL="+url, "AGENTIDP_MASTER_KEY="+key)
	i.env = append(i.env, "AGENTIDP_METRICS_LISTEN=127.0.0.1:0")
	i.start()
	o := &outage{ledger: newLedger(i, i.program("admin", "token")), t: t}
	o.admin.MaxRetries = -1 // each answer counts
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	o.workers = o.crowd(seed)
	return o
}

// during lets the crowd write, breaks something in the midst of it, and stops when all have
// been answered for some time after. Whoever is told to come again does so at once.
// It returns when it was that strike had come back.
func (o *outage) during(strike func()) (back time.Time) {
	o.t.Helper()
	stop := make(chan struct{})
	errs := make([]error, len(o.workers))
	var wg sync.WaitGroup
	for k, w := range o.workers {
		wg.Go(func() { errs[k] = o.endure(w, stop) })
	}
	more := func(n int) func() bool { before := o.total(); return func() bool { return o.total() >= before+n } }
	pace.Eventually(o.t, "answers before the fault", more(4*loadAnswers))
	strike()
	back = time.Now()
	pace.Eventually(o.t, "answers after it", more(8*loadAnswers))
	close(stop)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		o.t.Fatal(err)
	}
	return back
}

// endure has a worker write until it is told to stop, and until what it began is settled.
func (o *outage) endure(w *worker, stop <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(o.t.Context(), 3*time.Minute)
	defer cancel()
	for {
		op, again := w.doubt, w.doubt != nil
		if !again {
			select {
			case <-stop:
				return nil
			default:
				op = w.next()
			}
		}
		began := time.Now()
		err := w.perform(ctx, op, again)
		if err == nil {
			w.doubt = nil
			continue
		}
		if e, ok := errors.AsType[*client.Error](err); !ok || e.Status != http.StatusServiceUnavailable {
			return fmt.Errorf("%s: %w", op.name, err) // the server is there all the time, so it answers
		}
		w.doubt = op
		o.mu.Lock()
		o.failures = append(o.failures, failure{time.Now(), time.Since(began), err})
		o.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
	}
}

// wellAfter asserts that no request failed later than it may, or took longer than it may.
func (o *outage) wellAfter(back time.Time) {
	o.t.Helper()
	var last, longest time.Duration
	for _, f := range o.failures {
		last, longest = max(last, f.at.Sub(back)), max(longest, f.took)
	}
	if last > wellWithin {
		o.t.Errorf("a request failed %v after PostgreSQL was back", last)
	}
	if longest > toldWithin {
		o.t.Errorf("a request waited for %v", longest)
	}
	o.t.Logf("%d requests were told to come again, the last %v after PostgreSQL was back; none waited for longer than %v", len(o.failures), last, longest)
	o.failures = nil
}

// exchange takes a new subject token to the server, and returns what it says and how long
// that took.
func (o *outage) exchange() (time.Duration, error) {
	w := o.workers[0]
	began := time.Now()
	_, err := o.admin.Exchange(o.t.Context(), client.ExchangeRequest{Token: o.installation.subject(w.repository, "refs/heads/dev"), AgentID: w.agent})
	if _, reason := refusal(err); reason == "" {
		if code, _ := refusal(err); code == agentidp.CodeBranchNotPermitted {
			err = nil // it was decided, and recorded
		}
	}
	return time.Since(began), err
}

var goroutines = regexp.MustCompile(`(?m)^go_goroutines (\d+)`)

// held returns how many goroutines the server has, once it is idle, and how many connections
// PostgreSQL has from it.
func (o *outage) held(url string) (routines, connections int) {
	o.t.Helper()
	o.installation.http.CloseIdleConnections()
	resp, err := http.Get("http://" + o.installation.server.metrics + "/metrics")
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	if m := goroutines.FindSubmatch(text); m != nil {
		routines, _ = strconv.Atoi(string(m[1]))
	}
	return routines, ask[int](o.t, url, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
}

// PostgreSQL is restarted under load, in order and as by a power cut.
func TestR08PostgreSQLIsRestartedUnderLoad(t *testing.T) {
	t.Parallel()
	c := pgtest.NewCluster(t)
	url := c.CreateDatabase("agentidp")
	o := newOutage(t, url)
	o.during(func() {}) // all that is opened for a load is open
	routines, connections := o.held(url)
	for range often(10, 1) {
		for _, mode := range []string{"fast", "immediate"} {
			o.wellAfter(o.during(func() {
				c.Stop(mode)
				time.Sleep(time.Duration(rand.IntN(1000)) * time.Millisecond) // long enough to be noticed, or not
				c.Start()
			}))
		}
	}
	pace.Eventually(t, "as many goroutines and connections as before", func() bool {
		r, n := o.held(url)
		return r <= routines+5 && n <= connections+5
	})
	o.finish(t)
}

// the primary is gone, as by a power cut, and its synchronous standby takes its
// place: the server finds it by itself, and all that was answered is there.
func TestR09FailoverToASynchronousStandby(t *testing.T) {
	t.Parallel()
	for range often(5, 1) {
		primary := pgtest.NewCluster(t)
		primary.CreateDatabase("agentidp")
		standby := primary.Standby("second", true)
		o := newOutage(t, "postgres://postgres@"+primary.Address()+","+standby.Address()+"/agentidp?sslmode=disable&target_session_attrs=read-write")
		o.wellAfter(o.during(func() {
			primary.Stop("immediate")
			standby.Promote()
		}))
		o.finish(t)
	}
}

// With a standby that is not synchronous, what it had not yet received is lost, and with it
// that subject tokens were used. What it had received is there, and all is whole.
func TestR09FailoverToAnAsynchronousStandby(t *testing.T) {
	t.Parallel()
	primary := pgtest.NewCluster(t)
	primary.CreateDatabase("agentidp")
	standby := primary.Standby("second", false)
	o := newOutage(t, "postgres://postgres@"+primary.Address()+","+standby.Address()+"/agentidp?sslmode=disable&target_session_attrs=read-write")
	o.during(func() {})
	received := len(o.grants)
	written := ask[string](t, primary.URL("postgres"), "SELECT pg_current_wal_lsn()::text")
	pace.Eventually(t, "the standby has it", func() bool {
		return ask[bool](t, standby.URL("postgres"), "SELECT pg_last_wal_replay_lsn() >= '"+written+"'::pg_lsn")
	})
	standby.Exec("ALTER SYSTEM SET primary_conninfo = ''") // from here on it receives nothing
	standby.Exec("SELECT pg_reload_conf()")
	pace.Eventually(t, "the standby receives nothing", func() bool {
		return ask[int](t, primary.URL("postgres"), "SELECT count(*) FROM pg_stat_replication") == 0
	})
	o.during(func() {})
	primary.Stop("immediate")
	standby.Promote()
	pace.Eventually(t, "the server has found the standby", func() bool {
		_, err := o.admin.ListAgents(t.Context(), agentidp.AgentFilter{}, client.ListOptions{Limit: 1})
		return err == nil
	})
	count := o.installation.undamaged(t.Context(), t)
	for k, g := range o.grants {
		there := count("decisions WHERE id = '"+g.decision+"' AND outcome = 'allowed'") == 1
		if k < received && !there {
			t.Errorf("decision %s, which the standby had received, is lost", g.decision)
		}
	}
	left := count("decisions WHERE outcome = 'allowed'")
	if lost := len(o.grants) - left; lost <= 0 {
		t.Errorf("of %d grants %d are there", len(o.grants), left)
	} else {
		t.Logf("of %d grants the standby had received %d, and %d are lost", len(o.grants), left, lost)
	}
}

// ask returns what a query has in its one row.
func ask[T any](t *testing.T, url, query string) (v T) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), query).Scan(&v); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return v
}
