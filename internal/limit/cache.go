package limit

import "sync"

// Cache is a map of at most so many entries; when it is full, an arbitrary one makes
// room, which Go's map order picks well enough. It is safe for concurrent use.
type Cache[K comparable, V any] struct {
	size   int
	weight func(V) int // nil: entries are counted alone
	most   int         // of the weight of all

	mu      sync.RWMutex
	entries map[K]V
	weighs  int
}

// NewCache returns a Cache of at most size entries.
func NewCache[K comparable, V any](size int) *Cache[K, V] {
	return &Cache[K, V]{size: size, entries: map[K]V{}}
}

// NewWeighted returns a Cache of at most size entries that weigh no more than most
// together. What weighs more alone is kept alone. The weight of a value must not change.
func NewWeighted[K comparable, V any](size, most int, weight func(V) int) *Cache[K, V] {
	c := NewCache[K, V](size)
	c.weight, c.most = weight, most
	return c
}

// Get returns the value of a key, and whether there is one.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v, ok := c.entries[key]
	return v, ok
}

// Put keeps a value, in the place of others where there is no room.
func (c *Cache[K, V]) Put(key K, v V) {
	weight := 0
	if c.weight != nil {
		weight = c.weight(v)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(key)
	for old := range c.entries {
		if len(c.entries) < c.size && c.weighs+weight <= c.most {
			break
		}
		c.drop(old)
	}
	c.entries[key] = v
	c.weighs += weight
}

// Drop forgets a key.
func (c *Cache[K, V]) Drop(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(key)
}

// DropAll forgets every entry of which gone says so. It looks at all of them, so it is
// for what happens seldom.
func (c *Cache[K, V]) DropAll(gone func(K, V) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, v := range c.entries {
		if gone(key, v) {
			c.drop(key)
		}
	}
}

func (c *Cache[K, V]) drop(key K) {
	if c.weight != nil {
		if old, known := c.entries[key]; known {
			c.weighs -= c.weight(old)
		}
	}
	delete(c.entries, key)
}

// Len returns how many entries there are.
func (c *Cache[K, V]) Len() int {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return len(c.entries)
}
