// Package logpipe keeps whoever reads the log from stopping those who write it.
//
// It owns what happens while nobody reads: lines wait in bounded memory, and beyond that
// they are dropped and counted. Who reads again is told where lines are missing, and how
// many. It does not own what a line says.
package logpipe

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Room is how many bytes of lines wait at most: some thousand lines. As many again may
// be in the write that does not return.
const Room = 1 << 20

// Pipe takes lines and hands them to a writer that may block, or fail.
type Pipe struct {
	out     io.Writer
	notice  func(w io.Writer, dropped int64)
	dropped atomic.Int64
	over    chan struct{} // closed when nothing more is written

	mu      sync.Mutex
	changed sync.Cond
	waiting []byte // whole lines
	gap     int64  // how many were dropped, all of them after those that wait
	closed  bool

	// Of the goroutine that writes.
	untold int64 // lines that are missing, of which the reader does not know
	torn   bool  // the last write ended within a line
}

// New returns a pipe into out. notice writes a line, in one write, that says how many
// lines are missing in its place. Whoever opens a pipe closes it.
func New(out io.Writer, notice func(w io.Writer, dropped int64)) *Pipe {
	p := &Pipe{out: out, notice: notice, over: make(chan struct{})}
	p.changed.L = &p.mu
	go p.run()
	return p
}

// Write takes one line. It never waits for the reader, and never fails: a line for which
// there is no room is dropped, and so is every one until there is, so that what is
// missing is missing in one place.
func (p *Pipe) Write(line []byte) (int, error) {
	p.mu.Lock()
	if p.closed || p.gap > 0 || len(p.waiting)+len(line) > Room {
		p.gap++
		p.dropped.Add(1)
	} else {
		p.waiting = append(p.waiting, line...)
	}
	p.mu.Unlock()
	p.changed.Signal()
	return len(line), nil
}

// Dropped returns how many lines were dropped so far.
func (p *Pipe) Dropped() int64 { return p.dropped.Load() }

// Close waits until what was taken is written, for as long as patience lasts, and reports
// whether it was. What is written into the pipe from then on is dropped.
func (p *Pipe) Close(patience time.Duration) bool {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.changed.Signal()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.over:
		return true
	case <-timer.C:
		return false
	}
}

func (p *Pipe) run() {
	defer close(p.over)
	var batch []byte
	for {
		var gap int64
		if batch, gap = p.take(batch); len(batch) == 0 && gap == 0 {
			return
		}
		p.put(batch, gap)
	}
}

// spare is how much memory is kept for the next lines.
const spare = 64 << 10

// take waits for lines and returns all there are, with how many are missing after them;
// none at the end. before is memory to be used again.
func (p *Pipe) take(before []byte) (lines []byte, gap int64) {
	if cap(before) > spare {
		before = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.waiting) == 0 && p.gap == 0 && !p.closed {
		p.changed.Wait()
	}
	lines, gap = p.waiting, p.gap
	p.waiting, p.gap = before[:0], 0
	return lines, gap
}

// put writes lines, and then says how many are missing after them. What a failing writer
// did not take is missing too; it is told when it takes something again.
func (p *Pipe) put(lines []byte, gap int64) {
	if p.untold > 0 {
		p.tell()
	}
	if len(lines) > 0 {
		n, err := p.out.Write(lines)
		if err != nil {
			n = min(max(n, 0), len(lines))
			lost := int64(bytes.Count(lines[n:], []byte{'\n'}))
			p.dropped.Add(lost)
			p.untold += lost
			p.torn = p.torn && n == 0 || n > 0 && lines[n-1] != '\n'
		}
	}
	if p.untold += gap; p.untold > 0 {
		p.tell()
	}
}

// tell says what is missing, on a line of its own.
func (p *Pipe) tell() {
	var text bytes.Buffer
	if p.torn {
		text.WriteByte('\n')
	}
	p.notice(&text, p.untold)
	if n, err := p.out.Write(text.Bytes()); err == nil {
		p.untold, p.torn = 0, false
	} else if n > 0 {
		p.torn = true
	}
}
