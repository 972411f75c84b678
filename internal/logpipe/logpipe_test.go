package logpipe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// reader is who reads the log: he may stop, go away, and come back.
type reader struct {
	mu     sync.Mutex
	reads  sync.Cond
	stops  bool
	after  int // bytes that he still takes before he is gone; negative: he stays
	seen   bytes.Buffer
	writes int
}

func newReader() *reader {
	r := &reader{after: -1}
	r.reads.L = &r.mu
	return r
}

func (r *reader) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes++
	r.reads.Broadcast()
	for r.stops {
		r.reads.Wait()
	}
	if r.after >= 0 && len(b) > r.after {
		n, _ := r.seen.Write(b[:r.after])
		r.after = 0
		return n, errors.New("broken pipe")
	}
	if r.after >= 0 {
		r.after -= len(b)
	}
	return r.seen.Write(b)
}

func (r *reader) change(what func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	what()
	r.reads.Broadcast()
}

// waits returns when the reader has been offered so many writes.
func (r *reader) waits(writes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.writes < writes {
		r.reads.Wait()
	}
}

func (r *reader) lines() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Split(strings.TrimSuffix(r.seen.String(), "\n"), "\n")
}

func notice(w io.Writer, dropped int64) { fmt.Fprintf(w, "%d missing\n", dropped) }

const patience = time.Minute

func TestWhatIsReadIsWhole(t *testing.T) {
	r := newReader()
	p := New(r, notice)
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				fmt.Fprintf(p, "%d %d\n", k, i)
			}
		})
	}
	wg.Wait()
	if !p.Close(patience) || p.Dropped() != 0 {
		t.Fatalf("%d dropped", p.Dropped())
	}
	next := [8]int{}
	for _, line := range r.lines() {
		var k, i int
		if _, err := fmt.Sscanf(line, "%d %d", &k, &i); err != nil || i != next[k] {
			t.Fatalf("%q, want the %dth", line, next[k])
		}
		next[k]++
	}
	if next != [8]int{1000, 1000, 1000, 1000, 1000, 1000, 1000, 1000} {
		t.Error(next)
	}
}

// Writers go on while nobody reads, the memory is bounded, and of what is missing the
// reader learns where and how much. The test itself would stand still if a write did.
func TestNobodyReads(t *testing.T) {
	r := newReader()
	r.stops = true
	p := New(r, notice)
	line := strings.Repeat("x", 999) + "\n"
	io.WriteString(p, "first\n")
	r.waits(1)
	const sent = 3 * Room / 1000
	for range sent {
		if n, err := io.WriteString(p, line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	io.WriteString(p, "short\n") // there would be room, but not in its place
	if p.mu.Lock(); len(p.waiting) > Room {
		t.Errorf("%d bytes wait", len(p.waiting))
	}
	p.mu.Unlock()
	fits, dropped := Room/1000, p.Dropped()
	if dropped != int64(sent-fits+1) {
		t.Errorf("%d dropped of %d", dropped, sent)
	}
	r.change(func() { r.stops = false })
	r.waits(3) // the line, those that waited, the notice
	io.WriteString(p, "last\n")
	if !p.Close(patience) {
		t.Fatal("not closed")
	}
	got := r.lines()
	if len(got) != fits+3 || got[0] != "first" || got[fits] != line[:999] || got[fits+1] != fmt.Sprintf("%d missing", dropped) || got[fits+2] != "last" {
		t.Errorf("%d lines; at the end: %.60q", len(got), got[len(got)-2:])
	}
	io.WriteString(p, "too late\n")
	if p.Dropped() != dropped+1 {
		t.Error("what comes after the end is not counted")
	}
}

func TestTheReaderIsGoneForAWhile(t *testing.T) {
	for _, tt := range []struct {
		name  string
		after int // bytes that the last thing he takes has
		want  string
	}{
		{"between two lines", 0, "one\n3 missing\nfive\n"},
		{"within a line", 2, "one\ntw\n3 missing\nfive\n"},
		{"after a line of several", 8, "one\ntwo\nthre\n2 missing\nfive\n"},
	} {
		r := newReader()
		p := New(r, notice)
		io.WriteString(p, "one\n")
		r.waits(1)
		r.change(func() { r.stops = true })
		io.WriteString(p, "wait\n")
		r.waits(2)
		for _, line := range []string{"two\n", "three\n", "four\n"} {
			io.WriteString(p, line)
		}
		r.change(func() { // what waits goes out whole, and then he takes so much
			r.stops, r.after = false, len("wait\n")+tt.after
		})
		r.waits(4) // the write that failed, and the notice that did
		r.change(func() { r.after = -1 })
		io.WriteString(p, "five\n")
		if !p.Close(patience) {
			t.Fatal("not closed")
		}
		if got := strings.Replace(r.seen.String(), "wait\n", "", 1); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestTheEndDoesNotWaitForEver(t *testing.T) {
	r := newReader()
	r.stops = true
	p := New(r, notice)
	io.WriteString(p, "last words\n")
	if p.Close(time.Millisecond) {
		t.Error("it says that all was written")
	}
	r.change(func() { r.stops = false })
	if !p.Close(patience) || r.seen.String() != "last words\n" {
		t.Errorf("%q", r.seen.String())
	}
}
