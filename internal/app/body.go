package app

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/limit"
	"github.com/sentryagent/agentidp/internal/problem"
)

const (
	// readAheadMost is one byte more than any handler takes, so that each sees what
	// is too large by itself.
	readAheadMost = 64<<10 + 1
	// blockSize is in what steps memory is given to a body, as it comes. An exchange
	// takes one.
	blockSize = 4 << 10
	// readAheadTotal is how much memory bodies have that nobody works on yet: of
	// exchanges, of the token endpoint, and of all others. An address has at most a
	// quarter, 4 MiB, which is a thousand bodies of one block; whoever is honest has
	// sent his in a moment, and where all is taken the slowest make room: over HTTP/2, four
	// addresses have four thousand bodies in forty connections.
	readAheadTotal = 16 << 20
)

type block [blockSize]byte

// body is the body of a request, of which the beginning was read already.
type body struct {
	blocks []*block
	size   int  // how much was read ahead
	taken  int  // how much of that the handler has
	ended  bool // there is no more
	rest   io.Reader

	hold *limit.Hold[netip.Addr] // what the blocks were taken of
}

var (
	bodies = sync.Pool{New: func() any { return &body{} }}
	blocks = sync.Pool{New: func() any { return &block{} }}
)

var (
	errNoRoom = errors.New("no memory is left for bodies")
	errSlow   = errors.New("it made room for another body")
)

// readAhead reads the body of a request before it takes a place, so that whoever
// sends slowly takes none. What is too large is for the handler to refuse, and where
// the length says so already, nothing of it is read. A body that does not come is a
// failure of its address, however it breaks off: it has cost memory, for as long as the
// sender wanted, or until it had to make room.
func (w *response) readAhead(r *http.Request, share *limit.Share[netip.Addr]) error {
	switch {
	case r.ContentLength == 0:
		return nil
	case r.ContentLength >= readAheadMost:
		// Handlers do not wait, in their place, for what the client may never send:
		// they see something of the least length that is too large.
		r.Body = io.NopCloser(io.LimitReader(blank{}, readAheadMost))
		return nil
	}
	b, _ := bodies.Get().(*body)
	b.rest = r.Body
	b.hold = share.Open(w.counted, func() {
		_ = http.NewResponseController(w.ResponseWriter).SetReadDeadline(time.Unix(1, 0)) // its reader finds out
	})
	w.body = b
	err := b.fill(r.ContentLength)
	if !b.hold.Arrived() {
		problem.Unproven(r.Context())
		return w.noRoom(r, errSlow)
	}
	switch {
	case errors.Is(err, errNoRoom):
		w.early = true
		return w.noRoom(r, err)
	case err != nil:
		problem.Unproven(r.Context())
		return agentidp.InvalidFields(agentidp.FieldError{Field: "body", Reason: "could not be read"})
	}
	r.Body = b
	return nil
}

func (w *response) noRoom(r *http.Request, cause error) error {
	if r.ProtoMajor == 1 { // or net/http waits for the rest of the body before it answers
		w.Header()["Connection"] = connectionClose
	}
	e := agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable,
		"The server holds as many unfinished request bodies as it has memory for, and turned this one away before it did anything. Try again in a moment, an exchange with a fresh ID token.")
	e.RetryAfter = time.Second
	return e.WithCause(cause)
}

// fill reads ahead, block by block. What fits in one finds room also while larger
// bodies have taken all of theirs.
func (b *body) fill(length int64) error {
	for b.size < readAheadMost {
		if b.size == len(b.blocks)*blockSize {
			large := length > blockSize || length < 0 && b.size > 0
			if !b.hold.Take(blockSize, large) {
				return errNoRoom
			}
			next, _ := blocks.Get().(*block)
			b.blocks = append(b.blocks, next)
		}
		room := b.blocks[len(b.blocks)-1][b.size%blockSize:]
		n, err := b.rest.Read(room[:min(len(room), readAheadMost-b.size)])
		b.size += n
		if errors.Is(err, io.EOF) {
			b.ended = true
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Read reads what was read ahead, and then on.
func (b *body) Read(p []byte) (int, error) {
	if b.taken < b.size {
		from := b.taken % blockSize
		n := copy(p, b.blocks[b.taken/blockSize][from:min(blockSize, from+b.size-b.taken)])
		if b.taken += n; b.taken == b.size {
			b.free()
		}
		return n, nil
	}
	if b.ended {
		return 0, io.EOF
	}
	return b.rest.Read(p)
}

// Close does nothing: the server closes the body of the connection, after the answer.
// To do it here would be to wait, in a place, for what the client still sends.
func (*body) Close() error { return nil }

// free gives the memory back: when the handler has all of it, or has answered without.
func (b *body) free() {
	b.hold.Close()
	if len(b.blocks) == 0 {
		return
	}
	for _, one := range b.blocks {
		blocks.Put(one)
	}
	clear(b.blocks)
	b.blocks, b.taken = b.blocks[:0], b.size
}

// release lets the next request have the body. Nothing of this one may read it any more.
func (b *body) release() {
	b.free()
	*b = body{blocks: b.blocks}
	bodies.Put(b)
}

// blank is white space without end.
type blank struct{}

func (blank) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
