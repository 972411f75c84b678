package app

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

// badToken is one that anybody can make: what it is refused for, how the nth of its
// kind is spelled, and how many of a flood's twenty are like it: the dearer, the fewer,
// for the test's own sake.
type badToken struct {
	what  agentidp.RefusalCount
	spell func(n int) string
	share int
}

func (f *forger) badTokens() []badToken {
	parts := strings.Split(f.signed(), ".")
	head, noise := b64(header("RS256", f.kid)), b64(random(256))
	return []badToken{
		{agentidp.RefusalCount{Reason: "format"}, func(n int) string { return "x.y." + strconv.Itoa(n) }, 16},
		{agentidp.RefusalCount{Reason: "issuer"}, func(n int) string {
			return head + "." + b64(`{"iss":"https://ci`+strconv.Itoa(n)+`.example"}`) + "." + noise
		}, 3},
		{agentidp.RefusalCount{Reason: "signature", Provider: "github"}, func(int) string { return parts[0] + "." + parts[1] + "." + noise }, 1},
	}
}

// floodOf deals out a flood's twenty.
func floodOf(tokens []badToken) (twenty []badToken) {
	for _, bad := range tokens {
		twenty = append(twenty, slices.Repeat([]badToken{bad}, bad.share)...)
	}
	return twenty
}

// trace is all that the server has on disk.
type trace struct {
	rows    map[string]int // by table
	bytes   int64          // of the database's file, with all that was committed in it
	version int            // moves with every commit of another connection than the test's
}

func (f *forger) trace() *trace {
	f.t.Helper()
	tr := &trace{rows: map[string]int{}}
	number := func(query string) (n int) {
		if err := f.rows.QueryRowContext(f.t.Context(), query).Scan(&n); err != nil {
			f.t.Fatalf("%s: %v", query, err)
		}
		return n
	}
	var busy, inLog, copied int
	if err := f.rows.QueryRowContext(f.t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &inLog, &copied); err != nil || busy != 0 {
		f.t.Fatalf("checkpoint: %v, %d", err, busy)
	}
	var names string
	err := f.rows.QueryRowContext(f.t.Context(), "SELECT group_concat(name) FROM sqlite_schema WHERE type = 'table'").Scan(&names)
	if err != nil {
		f.t.Fatal(err)
	}
	for name := range strings.SplitSeq(names, ",") {
		tr.rows[name] = number(`SELECT count(*) FROM "` + name + `"`)
	}
	tr.version = number("PRAGMA data_version")
	info, err := os.Stat(filepath.Join(f.app.cfg.DataDir, "agentidp.db"))
	if err != nil {
		f.t.Fatal(err)
	}
	tr.bytes = info.Size()
	return tr
}

// take returns what was written, and forgets it.
func (s *syncBuffer) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.b.String()
	s.b = bytes.Buffer{}
	return log
}

// post sends an exchange over a connection, and hand gives it to the handler that the
// connection would give it to, which is faster and no other code.
func (f *forger) post(client *http.Client, body string) (status int, err error) {
	resp, err := client.Post(f.url+exchangePath, "application/json", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

func (f *forger) hand(_ *http.Client, body string) (status int, err error) {
	return f.handed(body).Code, nil
}

func (f *forger) handed(body string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(f.t.Context(), http.MethodPost, exchangePath, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	f.app.http.Handler.ServeHTTP(w, r)
	return w
}

// live is what the heap holds once nothing is left to collect, in bytes.
func live() int64 {
	var m runtime.MemStats
	for range 2 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A hundred thousand tokens that prove nothing cost not one commit, and no memory
// that grows with them; each is counted. Some come over connections, most without.
// Not parallel: what others allocate would be counted too.
func TestAFloodOfBadTokensLeavesNoTrace(t *testing.T) {
	flood, overHTTP := 100_000, 5_000
	if detectsRaces {
		flood = 20_000
	}
	const (
		workers = 8
		seconds = 20 // that pass meanwhile, on the server's clock; an unproven signature has keys fetched every 30 s at most
	)
	f := newForger(t)
	f.restart()                                          // so that what was to be written a moment later is
	if err := f.app.removeDue(t.Context()); err != nil { // it notes the time, now and then
		t.Fatal(err)
	}
	tokens := f.badTokens()
	for _, bad := range tokens { // whatever is filled once is filled: connections, caches, keys
		f.want(f.submit(bad.spell(-1)), 401, agentidp.CodeInvalidToken)
	}
	f.logs.take()
	before, counted, heap := f.trace(), f.refusals(), live()

	twenty := floodOf(tokens)
	want := maps.Clone(counted)
	for i := range flood {
		want[twenty[i%len(twenty)].what]++
	}
	for second := range seconds {
		f.clock.advance(time.Second)
		var wg sync.WaitGroup
		for worker := range workers {
			wg.Go(func() {
				client := &http.Client{Transport: &http.Transport{}}
				defer client.CloseIdleConnections()
				for i := second*flood/seconds + worker; i < (second+1)*flood/seconds; i += workers {
					send := f.post
					if i >= overHTTP {
						send = f.hand
					}
					body := `{"token":"` + twenty[i%len(twenty)].spell(i) + `","agentId":"` + f.agentID + `"}`
					if status, err := send(client, body); err != nil || status != http.StatusUnauthorized {
						t.Errorf("%d %v", status, err)
						return
					}
				}
			})
		}
		wg.Wait()
		log := f.logs.take()
		if n := strings.Count(log, "subject token refused"); n != 1 || jwtPattern.MatchString(log) {
			t.Errorf("%d lines of the log tell of the refusals of a second, want one, and no token in any", n)
		}
	}

	if got := f.refusals(); !maps.Equal(got, want) {
		t.Errorf("counted %v, want %v", got, want)
	}
	if latest := f.app.exchange.Refusals().Of(f.org().ID).Latest; len(latest) != seconds+1 {
		t.Errorf("%d in the sample, want one for each second", len(latest))
	}
	after := f.trace()
	if !maps.Equal(after.rows, before.rows) || after.bytes != before.bytes || after.version != before.version {
		t.Errorf("the database was %+v and is %+v", before, after)
	}
	if grown := live() - heap; grown > 4<<20 {
		t.Errorf("the heap has grown by %d KiB", grown>>10)
	}
	f.becomes(f.signed(), "granted") // and who is honest is served
}
