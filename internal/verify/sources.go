package verify

import "time"

// SourceState is how a fetched key set is.
type SourceState struct {
	Address   string
	FetchedAt time.Time // zero: there is none yet
	Failing   bool      // the latest attempt to fetch it failed
	Ignored   int       // keys for signatures in it that are not used
}

// Sources returns the state of every fetched key set that is held, in no order.
func (v *Verifier) Sources() []SourceState {
	c := v.keys
	c.mu.Lock()
	held := make([]*source, 0, len(c.fetched)) // their locks come before the cache's
	for _, s := range c.fetched {
		held = append(held, s)
	}
	c.mu.Unlock()
	states := make([]SourceState, len(held))
	for i, s := range held {
		fetchedAt, failing := s.state()
		states[i] = SourceState{Address: s.address, FetchedAt: fetchedAt, Failing: failing, Ignored: s.ignored()}
	}
	return states
}
