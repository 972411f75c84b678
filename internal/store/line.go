package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// How long PostgreSQL may say nothing. Together they keep a request from waiting for
// longer than two seconds for a server that is gone: quiet, askTime, and half a second
// that it may have waited for its place.
const (
	// quiet is after which silence a server is suspected, and asked over a new connection.
	quiet = 400 * time.Millisecond
	// askTime is how long it may take until something is heard from it then.
	askTime = time.Second
	// silence is how long one connection may be silent while the server answers others,
	// where no statement waits for a row.
	silence = 3 * time.Second
	// trusted is how long a connection may be idle and is used again unasked, and how long
	// its answer may take else. From one that is in doubt already, because another was
	// lost, none is waited for that long.
	trusted = time.Second
	// mendFirst and mendLast are the pauses between two looks at a server that is gone:
	// the latter is how long it may be back and still be taken for gone.
	mendFirst = 100 * time.Millisecond
	mendLast  = 500 * time.Millisecond
	mendTime  = 5 * time.Second // of one look
)

// errDown is what everybody is told while the server is gone. Nothing was sent.
var errDown = fmt.Errorf("PostgreSQL does not answer, and is asked again twice a second: %w", ErrUnavailable)

// line is all that leads to PostgreSQL. A connection that breaks or is silent says
// nothing about the server: a statement may be slow, a pooler may have been restarted.
// So the server is asked over a new one. Only if that is not answered either, the line is
// down: all connections are closed, so that nobody waits for them any longer, new ones
// are refused at once, and the line is up again when one look finds the server well.
//
// What it decides costs time alone: an outcome that is lost with its connection is
// unknown, as if the network had done it.
type line struct {
	config *pgx.ConnConfig // of its looks
	log    *slog.Logger

	heard atomic.Int64 // how often something was
	loss  atomic.Int64 // how often a connection was lost: those from before it are asked before they are used

	mu     sync.Mutex
	wires  map[*wire]struct{}
	open   bool // it is in use: before that, and after, whoever asks waits by himself
	asking bool
	down   bool

	life context.Context
	end  context.CancelFunc
	done sync.WaitGroup
}

func newLine(config *pgx.ConnConfig, log *slog.Logger) *line {
	l := &line{log: log, wires: make(map[*wire]struct{})}
	l.life, l.end = context.WithCancel(context.Background())
	l.config = config.Copy()
	l.config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		return ear{conn, &l.heard}, err
	}
	return l
}

// start begins to watch the server, stop ends it. Another engine has no line.
func (l *line) start() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = true
}

func (l *line) stop() {
	if l == nil {
		return
	}
	l.mu.Lock()
	l.open = false
	l.mu.Unlock()
	l.end()
	l.done.Wait()
}

// suspect has the server asked, unless somebody does so already.
func (l *line) suspect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.open || l.asking || l.down {
		return
	}
	l.asking = true
	l.done.Go(l.ask)
}

// ask looks whether the server is there. Whoever hears anything from it meanwhile, on any
// connection, knows that it is: it may be slow, or have no place for one more.
func (l *line) ask() {
	before := l.heard.Load()
	err := l.look(askTime)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		err = l.look(askTime) // one look may have met what broke the others
	}
	heard := errors.Is(err, context.DeadlineExceeded) && l.heard.Load() != before
	l.mu.Lock()
	l.asking = false
	l.down = l.open && err != nil && !heard
	lost := l.down
	l.mu.Unlock()
	if lost {
		l.log.Warn("PostgreSQL does not answer; what needs it is refused until it does", "error", err)
		l.cut()
		l.mend()
	}
}

// mend looks until the server is there.
func (l *line) mend() {
	began := time.Now()
	for pause := mendFirst; ; pause = min(2*pause, mendLast) {
		select {
		case <-l.life.Done():
			return
		case <-time.After(pause):
		}
		if l.look(mendTime) == nil {
			break
		}
	}
	l.mu.Lock()
	l.down = false
	l.mu.Unlock()
	l.log.Info("PostgreSQL answers again", "after", time.Since(began).Round(time.Millisecond).String())
}

// look asks the server something over a connection of its own. What it refuses by itself
// is an answer too, unless it says that it is starting or ending.
func (l *line) look(within time.Duration) error {
	ctx, cancel := context.WithTimeout(l.life, within)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, l.config)
	if err == nil {
		err = errors.Join(conn.Ping(ctx), conn.Close(ctx))
	}
	if state := sqlState(err); state != "" && state[:3] != "57P" {
		return nil
	}
	return err
}

// lost is told of each connection that ended by itself, or was silent for too long: the
// others may have ended too, and are asked before they are used.
func (l *line) lost() {
	l.loss.Add(1)
	l.suspect()
}

// cut closes all connections. Whoever waits for one gets an error.
func (l *line) cut() {
	l.loss.Add(1)
	l.mu.Lock()
	all := slices.Collect(maps.Keys(l.wires))
	l.mu.Unlock()
	for _, w := range all {
		_ = w.Close() // its user finds out
	}
}

// dial returns what opens the connections of a pool. patient ones may be silent for as long
// as a statement of theirs waits for a row.
func (l *line) dial(patient bool) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		l.mu.Lock()
		down := l.down
		l.mu.Unlock()
		if down {
			return nil, errDown
		}
		late := time.AfterFunc(quiet, l.suspect)
		conn, err := dialer.DialContext(ctx, network, address)
		late.Stop()
		if err != nil {
			l.suspect()
			return nil, err
		}
		w := &wire{ear: ear{conn, &l.heard}, line: l, patient: patient}
		w.asked.Store(l.loss.Load())
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.down { // since then
			return nil, errors.Join(errDown, conn.Close())
		}
		l.wires[w] = struct{}{}
		return w, nil
	}
}

// sound asks a connection that was idle, or that is from before another was lost, whether
// it is still one, before it is used again.
func (l *line) sound(ctx context.Context, conn *pgx.Conn) error {
	w := wireOf(conn)
	if w == nil || w.idle() < trusted && w.asked.Load() == l.loss.Load() {
		return nil
	}
	loss, patience := l.loss.Load(), trusted
	if w.asked.Load() != loss {
		patience = quiet
	}
	brief, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := conn.PgConn().Ping(brief); err != nil {
		if ctx.Err() == nil {
			l.lost()
		}
		return driver.ErrBadConn // the pool takes another
	}
	w.asked.Store(loss)
	return nil
}
