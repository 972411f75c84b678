package app

import (
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/pace"
)

// soakFor is how long the soak lasts, but never less than three days of its clock. Where
// neither it nor the long form of the faults is asked for, it lasts six hours of that.
var soakFor = flag.Duration("soak", 0, "how long TestR24Soak lasts")

const (
	soakRounds   = 72 // at least
	soakWorkers  = 8
	soakPolicies = 64 // repositories that have policies, one after another
	soakRotates  = 36 // rounds from one rotation by command to the next; a day after each there is one on schedule
)

// soak is a server that works for a long time: in each round its clients do the same,
// and an hour passes. It keeps everything for a day.
type soak struct {
	*forger
	admin   string
	serial  atomic.Int64
	done    atomic.Int64 // operations
	tables  []string
	samples []sample // with room from the start: what is measured must not grow with them
}

const (
	soakTables  = 32     // there is room for
	soakSamples = 20_000 // in ten minutes, on a fast machine
)

// sample is what the server holds at the end of a round.
type sample struct {
	at         time.Duration
	heap       uint64
	goroutines int
	files      int
	rows       [soakTables]int // in the order of soak.tables
}

// in returns how many rows a table had.
func (s *soak) in(table string, at sample) int { return at.rows[slices.Index(s.tables, table)] }

// growing are the tables that grow with use, and are emptied.
var growing = []string{"access_tokens", "decisions", "events", "used_tokens"}

// what a server holds does not grow with what it has done.
//
// Not parallel: it counts goroutines and files of the process.
func TestR24Soak(t *testing.T) {
	s := &soak{samples: make([]sample, 0, soakSamples), forger: newForger(t, func(c *config.Config) { c.KeepDecisions, c.KeepEvents, c.KeyRotation = day, day, day })}
	s.warm()
	before := s.sample(0)
	began := time.Now()
	rounds := soakRounds
	if *soakFor == 0 && !pace.Long() {
		rounds = 6
	}
	for round := 0; round < rounds || time.Since(began) < *soakFor; round++ {
		s.work()
		if round%soakRotates == 3 {
			if _, err := s.app.RotateKeys(t.Context(), s.slug, ""); err != nil {
				t.Fatal(err)
			}
		}
		s.passes(1)
		s.samples = append(s.samples, s.sample(time.Since(began)))
	}
	s.report(before)
	s.rowsAreBounded(before)
	s.heapIsFlat()

	s.passes(60) // all that it did is old
	var after sample
	pace.Eventually(t, "as few goroutines and files as before", func() bool {
		http.DefaultClient.CloseIdleConnections()
		after = s.sample(0)
		return after.goroutines <= before.goroutines && after.files <= before.files
	})
	for _, table := range growing {
		if is, was := s.in(table, after), s.in(table, before); is > was {
			t.Errorf("%d rows are left in %s; there were %d", is, table, was)
		}
	}
	// A key stays for 31 days, the hours of as many rounds, after its successor has its turn.
	most := 31*24/soakRotates*2 + 4
	if served := len(s.want(s.do("GET", "/.well-known/jwks.json", "", nil), 200).Body["keys"].([]any)); served > most {
		t.Errorf("%d keys are served; of 31 days there are %d", served, most)
	}
}

// warm makes whatever is made once: connections to the database, caches.
func (s *soak) warm() {
	s.t.Helper()
	s.work()
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if err := s.lists(); err != nil {
				s.t.Error(err)
			}
		})
	}
	wg.Wait()
	s.passes(1)
	http.DefaultClient.CloseIdleConnections()
}

// passes lets hours pass, and what is done beside requests be done.
func (s *soak) passes(hours int) {
	s.t.Helper()
	for range hours {
		s.clock.advance(time.Hour)
		if err := s.app.rotateDue(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
		if err := s.app.removeDue(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
		if token := jwtPattern.FindString(s.logs.take()); token != "" {
			s.t.Fatalf("the log holds a token: %.20s…", token)
		}
	}
}

// work is one round: every client does everything once.
func (s *soak) work() {
	s.t.Helper()
	s.admin = s.world.admin()
	var wg sync.WaitGroup
	for range soakWorkers {
		wg.Go(func() {
			for _, does := range []func() error{s.grants, s.refusals, s.garbageAndReplays, s.policies, s.lists} {
				if err := does(); err != nil {
					s.t.Error(err)
				}
				s.done.Add(1)
			}
		})
	}
	wg.Wait()
	if s.t.Failed() {
		s.t.FailNow()
	}
}

// asks sends a request and expects a status.
func (s *soak) asks(status int, method, path, bearer string, body any, headers ...string) (*answer, error) {
	a, err := s.send(method, path, bearer, body, headers...)
	if err == nil && a.Status != status {
		err = fmt.Errorf("%s %s: %d instead of %d: %s", method, path, a.Status, status, jwtPattern.ReplaceAll(a.Raw, []byte("(a token)")))
	}
	return a, err
}

// grants has a token issued, asks about it, and ends it.
func (s *soak) grants() error {
	a, err := s.asks(200, "POST", exchangePath, "", exchangeBody(s.signed(), s.agentID))
	if err != nil {
		return err
	}
	form := url.Values{"token": {a.str("access_token")}}.Encode()
	for _, step := range []struct {
		path   string
		active bool
	}{{introspectionPath, true}, {revocationPath, false}, {introspectionPath, false}} {
		if a, err = s.asks(200, "POST", step.path, "", form, "Content-Type", formType); err != nil {
			return err
		}
		if active, ok := a.Body["active"].(bool); ok && active != step.active {
			return fmt.Errorf("active is %t after %s", active, step.path)
		}
	}
	return nil
}

func (s *soak) refusals() error {
	_, err := s.asks(403, "POST", exchangePath, "", exchangeBody(s.signed(claims{"ref": "refs/heads/dev"}), s.agentID))
	return err
}

func (s *soak) garbageAndReplays() error {
	token := s.signed()
	for _, step := range []struct {
		token  string
		status int
	}{{token + "x", 401}, {token, 200}, {token, 401}} {
		if _, err := s.asks(step.status, "POST", exchangePath, "", exchangeBody(step.token, s.agentID)); err != nil {
			return err
		}
	}
	return nil
}

// policies has a policy come, change, grant and go, for a repository of its own.
func (s *soak) policies() error {
	n := s.serial.Add(1) % soakPolicies
	name, id := fmt.Sprintf("acme/soak-%d", n), fmt.Sprint(10_000+n)
	body := map[string]any{"provider": "github", "repository": name, "agentId": s.agentID}
	a, err := s.asks(201, "POST", policiesPath, s.admin, body)
	if err != nil {
		return err
	}
	path := policiesPath + "/" + a.str("id")
	body["branch"] = "main"
	if _, err := s.asks(200, "PUT", path, s.admin, body, "If-Match", a.Header.Get("ETag")); err != nil {
		return err
	}
	run := claims{"repository": name, "repository_id": id, "repository_owner_id": "65"}
	if _, err := s.asks(200, "POST", exchangePath, "", exchangeBody(s.signed(run), s.agentID)); err != nil {
		return err
	}
	if _, err := s.asks(204, "DELETE", path, s.admin, nil); err != nil {
		return err
	}
	_, err = s.asks(403, "POST", exchangePath, "", exchangeBody(s.signed(run), s.agentID))
	return err
}

func (s *soak) lists() error {
	for _, path := range []string{policiesPath, agentsPath, decisionsPath, eventsPath} {
		if _, err := s.asks(200, "GET", path+"?limit=200", s.admin, nil); err != nil {
			return err
		}
	}
	_, err := s.asks(200, "PATCH", agentsPath+"/"+s.agentID, s.admin, map[string]any{"version": fmt.Sprint(s.serial.Load())})
	return err
}

func (s *soak) sample(at time.Duration) sample {
	s.t.Helper()
	runtime.GC()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		s.t.Logf("open files are not counted here: %v", err)
	}
	return sample{at, mem.HeapAlloc, runtime.NumGoroutine(), len(files), s.count()}
}

// count returns how many rows each table has.
func (s *soak) count() (rows [soakTables]int) {
	s.t.Helper()
	if s.tables == nil {
		var names string
		err := s.rows.QueryRowContext(s.t.Context(), "SELECT group_concat(name) FROM sqlite_schema WHERE type = 'table'").Scan(&names)
		if err != nil {
			s.t.Fatal(err)
		}
		s.tables = slices.Sorted(strings.SplitSeq(names, ","))
	}
	for i, name := range s.tables {
		if err := s.rows.QueryRowContext(s.t.Context(), `SELECT count(*) FROM "`+name+`"`).Scan(&rows[i]); err != nil {
			s.t.Fatal(err)
		}
	}
	return rows
}

// rowsAreBounded asserts that no table holds more than what is kept for a day, what
// the clock's margin adds, and the day at the start on which nothing is removed.
func (s *soak) rowsAreBounded(before sample) {
	s.t.Helper()
	first := s.samples[0]
	for _, table := range growing {
		aRound := s.in(table, first) - s.in(table, before)
		most := s.in(table, before) + 54*aRound
		for i, now := range s.samples {
			if n := s.in(table, now); n > most {
				s.t.Errorf("round %d: %d rows in %s; %d a round, kept for a day, are %d", i, n, table, aRound, most)
				break
			}
		}
	}
}

// heapIsFlat compares the second quarter, when all caches are warm, with the last.
func (s *soak) heapIsFlat() {
	s.t.Helper()
	quarter := len(s.samples) / 4
	early, late := median(s.samples[quarter:2*quarter]), median(s.samples[3*quarter:])
	if late > early+early/4+(4<<20) {
		s.t.Errorf("live memory was %d KiB early and %d KiB late", early>>10, late>>10)
	}
}

func median(samples []sample) uint64 {
	heaps := make([]uint64, len(samples))
	for i := range samples {
		heaps[i] = samples[i].heap
	}
	slices.Sort(heaps)
	return heaps[len(heaps)/2]
}

// slope is the median of the slopes between all pairs of samples (Theil and Sen), in
// KiB an hour.
func slope(samples []sample) float64 {
	var slopes []float64
	for i := range samples {
		for j := range i {
			slopes = append(slopes, (float64(samples[i].heap)-float64(samples[j].heap))/1024/(samples[i].at-samples[j].at).Hours())
		}
	}
	slices.Sort(slopes)
	return slopes[len(slopes)/2]
}

func (s *soak) report(before sample) {
	last := s.samples[len(s.samples)-1]
	s.t.Logf("%d rounds in %s, %d chains of requests, %d days of the server's clock",
		len(s.samples), last.at.Round(time.Second), s.done.Load(), len(s.samples)/24)
	s.t.Logf("live heap: %d KiB before, %d KiB in the second quarter, %d KiB in the last",
		before.heap>>10, median(s.samples[len(s.samples)/4:len(s.samples)/2])>>10, median(s.samples[3*len(s.samples)/4:])>>10)
	if *soakFor > 0 {
		s.t.Logf("slope of live heap in the last half: %.0f KiB an hour", slope(s.samples[len(s.samples)/2:]))
	}
	most := before
	for _, now := range s.samples {
		most.goroutines, most.files = max(most.goroutines, now.goroutines), max(most.files, now.files)
		for i, n := range now.rows {
			most.rows[i] = max(most.rows[i], n)
		}
	}
	s.t.Logf("goroutines: %d before, at most %d; files: %d before, at most %d", before.goroutines, most.goroutines, before.files, most.files)
	var tables []string
	for i, table := range s.tables {
		tables = append(tables, fmt.Sprintf("%s %d/%d/%d", table, before.rows[i], most.rows[i], last.rows[i]))
	}
	s.t.Logf("rows before/at most/last: %s", strings.Join(tables, ", "))
}
