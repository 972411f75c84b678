package verify_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/pace"
	"github.com/sentryagent/agentidp/internal/verify"
)

// disk is where key sets are persisted.
type disk struct {
	mu    sync.Mutex
	sets  map[string]*verify.KeySet
	loads int
	saves int
	err   error
}

func (d *disk) load(_ context.Context, source string) (*verify.KeySet, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.loads++
	return d.sets[source], d.err
}

func (d *disk) save(_ context.Context, set *verify.KeySet) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	d.saves++
	next := *set
	if known := d.sets[set.Source]; known != nil {
		next.AskedAt = known.AskedAt
		if set.JWKS == nil {
			next.JWKS, next.FetchedAt = known.JWKS, known.FetchedAt
		}
	}
	d.sets[set.Source] = &next
	return nil
}

func (d *disk) begin(_ context.Context, source string, now time.Time, within, ahead time.Duration) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := verify.KeySet{Source: source}
	if known := d.sets[source]; known != nil {
		next = *known
	}
	if next.AskedAt.After(now.Add(-within)) && !next.AskedAt.After(now.Add(ahead)) {
		return false, d.err
	}
	next.AskedAt = now
	d.sets[source] = &next
	return d.err == nil, d.err
}

func (d *disk) set(source string) *verify.KeySet {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sets[source]
}

func newWorldWithDisk(t *testing.T) (*world, *disk) {
	t.Helper()
	w, d := newWorld(t, jose.ES256), &disk{sets: map[string]*verify.KeySet{}}
	w.config.Load, w.config.Save = d.load, d.save
	w.restart(t)
	return w, d
}

// keys of an address that may no longer be asked are not used either.
func TestSavedKeysOfAnAddressThatIsRefusedNow(t *testing.T) {
	t.Parallel()
	w, d := newWorldWithDisk(t)
	w.mustVerify(t, w.good(t))
	pace.Eventually(t, "saved", func() bool { return d.set(w.provider.JWKSURI) != nil })
	listed := w.config.Hosts
	w.config.Hosts = nil
	w.restart(t)
	w.wantUnreachable(t, w.good(t))
	w.config.Hosts = listed
	w.restart(t)
	w.issuer.answers(http.StatusInternalServerError, "")
	w.mustVerify(t, w.good(t))
}

func TestARestartWhileTheIssuerIsDown(t *testing.T) {
	t.Parallel()
	w, d := newWorldWithDisk(t)
	w.mustVerify(t, w.good(t))
	pace.Eventually(t, "saved", func() bool { return d.set(w.provider.JWKSURI) != nil })
	if set := d.set(w.provider.JWKSURI); !set.FetchedAt.Equal(start) || string(set.JWKS) != string(jwks(t, w.key)) {
		t.Errorf("saved %+v", set)
	}

	w.issuer.answers(http.StatusBadGateway, "")
	w.Advance(23 * time.Hour)
	w.restart(t)
	w.mustVerify(t, w.good(t))
	pace.Eventually(t, "a refresh of the old set", func() bool { return w.verifier.Stats().Failures == 1 })

	// Its age counts from when it was fetched, not from when it was loaded.
	w.Advance(time.Hour + time.Second)
	w.wantUnreachable(t, w.good(t))
	w.restart(t)
	w.wantUnreachable(t, w.good(t))
}

// A stranger's token with an unknown key id is worth a fetch every 30 seconds. Other nodes
// are told of it, also where it brought nothing new: it is their fetch too.
func TestFetchesThatBringNothingNewAreSavedToo(t *testing.T) {
	t.Parallel()
	w, d := newWorldWithDisk(t)
	w.mustVerify(t, w.good(t))
	stranger := newKey(t, "stranger", jose.ES256)
	for range 10 {
		w.Advance(31 * time.Second)
		w.wantRefused(t, stranger.token(t, claims(t, nil)), "unknown_key")
	}
	w.wantFetches(t, 11)
	pace.Eventually(t, "the latest fetch is saved", func() bool { return d.set(w.provider.JWKSURI).FetchedAt.Equal(w.Now()) })
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.saves > 11 {
		t.Errorf("saved %d times, for 11 fetches", d.saves)
	}
}

func TestASavedSetThatIsTooOldIsFetchedAgain(t *testing.T) {
	t.Parallel()
	w, d := newWorldWithDisk(t)
	w.mustVerify(t, w.good(t))
	pace.Eventually(t, "saved", func() bool { return d.set(w.provider.JWKSURI) != nil })
	w.Advance(25 * time.Hour)
	w.restart(t)
	w.mustVerify(t, w.good(t))
	w.wantFetches(t, 1)
}

func TestALoadedSetNeedsNoFetch(t *testing.T) {
	t.Parallel()
	w, d := newWorldWithDisk(t)
	w.mustVerify(t, w.good(t))
	pace.Eventually(t, "saved", func() bool { return d.set(w.provider.JWKSURI) != nil })
	w.Advance(5 * time.Minute)
	w.restart(t)
	w.mustVerify(t, w.good(t))
	w.wantFetches(t, 0)

	// A key that is newer than the saved set is fetched at once, also after a restart.
	w.key = newKey(t, "k2", jose.ES256)
	w.issuer.publish(t, w.key)
	w.mustVerify(t, w.good(t))
	w.wantFetches(t, 1)
	if d.loads != 3 {
		t.Errorf("loaded %d times; want once before each fetch, and once in its place", d.loads)
	}
}

func TestStorageThatFailsStopsNothing(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]*verify.KeySet{
		"an error": nil, "no key set": {JWKS: []byte("nonsense"), FetchedAt: start}, "a date in the future": {FetchedAt: start.Add(1000 * time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, d := newWorldWithDisk(t)
			if set == nil {
				d.err = errors.New("the disk is gone")
			} else if set.JWKS == nil {
				set.JWKS = jwks(t, w.key)
			}
			d.sets[w.provider.JWKSURI] = set
			w.mustVerify(t, w.good(t))
			w.Advance(11 * time.Minute)
			w.mustVerify(t, w.good(t))
			pace.Eventually(t, "a refresh", func() bool { return w.verifier.Stats().Fetches > 0 })
		})
	}
}
