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
	rest    io.Reader
}

var bodies = sync.Pool{New: func() any { return &body{} }}

// readAhead reads the body of a request before it takes a place, so that whoever
// sends slowly takes none. What is too large is for the handler to refuse, and where
// the length says so already, nothing of it is read.
func (w *response) readAhead(r *http.Request) error {
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

// Close does nothing: the server closes the body of the connection, after the answer.
// To do it here would be to wait, in a place, for what the client still sends.
func (*body) Close() error { return nil }

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

// blank is white space without end.
type blank struct{}

func (blank) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
