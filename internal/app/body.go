package app

import (
	"bytes"
	"io"
	"net/http"
	"sync"

	"github.com/sentryagent/agentidp"
)

const (
	// readAheadMost is one byte more than any handler takes, so that each sees what
	// is too large by itself.
	readAheadMost = 64<<10 + 1
	// keptBody is how large a buffer may be that is kept for the next request.
	keptBody = 8 << 10
)

// body is the body of a request, of which the beginning was read already.
type body struct {
	ahead   bytes.Buffer
	limited io.LimitedReader
	rest    io.ReadCloser
}

var bodies = sync.Pool{New: func() any { return &body{} }}

// readAhead reads the body of a request before it takes a place, so that whoever
// sends slowly takes none. What is too large is for the handler to find.
func (w *response) readAhead(r *http.Request) error {
	if r.ContentLength == 0 || r.ContentLength >= readAheadMost { // the latter is refused by its length alone
		return nil
	}
	b, _ := bodies.Get().(*body)
	b.rest, b.limited = r.Body, io.LimitedReader{R: r.Body, N: readAheadMost}
	w.body = b
	if _, err := b.ahead.ReadFrom(&b.limited); err != nil {
		return agentidp.InvalidFields(agentidp.FieldError{Field: "body", Reason: "could not be read"})
	}
	r.Body = b
	return nil
}

// Read reads what was read ahead, and then on.
func (b *body) Read(p []byte) (int, error) {
	switch {
	case b.ahead.Len() > 0:
		return b.ahead.Read(p)
	case b.limited.N > 0: // it ended before that
		return 0, io.EOF
	}
	return b.rest.Read(p)
}

// Close closes the body of the connection.
func (b *body) Close() error { return b.rest.Close() }

// release lets the next request have the buffer. Nothing of this one may read it
// any more.
func (b *body) release() {
	if b.ahead.Cap() > keptBody {
		return
	}
	b.ahead.Reset()
	b.rest, b.limited.R = nil, nil
	bodies.Put(b)
}
