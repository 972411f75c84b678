package limit

import "testing"

func TestACacheIsBounded(t *testing.T) {
	t.Parallel()
	const size = 100
	c := NewCache[int, int](size)
	for i := range 3 * size {
		c.Put(i, i)
		if got, ok := c.Get(i); !ok || got != i {
			t.Fatalf("%d is not there", i)
		}
	}
	if n := c.Len(); n != size {
		t.Errorf("%d entries, want %d", n, size)
	}
	c.Put(3*size-1, -1) // known: nothing makes room
	if got, ok := c.Get(3*size - 1); !ok || got != -1 || c.Len() != size {
		t.Errorf("%d, %v, and %d entries", got, ok, c.Len())
	}
	c.Drop(3*size - 1)
	if _, ok := c.Get(3*size - 1); ok {
		t.Error("dropped, and there")
	}
	left := c.Len()
	c.DropAll(func(key, _ int) bool { return key%2 == 0 })
	for key := range 3 * size {
		if _, ok := c.Get(key); ok {
			if left--; key%2 == 0 {
				t.Errorf("%d is there", key)
			}
		}
	}
	if left == 0 || c.Len() == 0 {
		t.Errorf("%d were dropped, and %d are left; want some of both", left, c.Len())
	}
}

func TestWeightedCacheIsBoundedByWeight(t *testing.T) {
	t.Parallel()
	c := NewWeighted[int](100, 10, func(n int) int { return n })
	for key := range 50 {
		c.Put(key, 3)
	}
	if c.Len() != 3 {
		t.Errorf("%d entries of weight 3 are kept, want 3 of weight 10", c.Len())
	}
	c.Put(100, 10)
	if _, ok := c.Get(100); !ok || c.Len() != 1 {
		t.Errorf("one of all the weight is not kept alone, but %d", c.Len())
	}
	c.Put(100, 11)
	if n, ok := c.Get(100); !ok || n != 11 || c.Len() != 1 {
		t.Errorf("one that is heavier than all may be is not kept alone: %d, of %d", n, c.Len())
	}
	c.DropAll(func(key, n int) bool { return key == 100 && n == 11 })
	for range 20 {
		c.Put(1, 4)
		c.Put(2, 4)
		c.Drop(2)
	}
	c.Put(2, 6)
	if c.Len() != 2 {
		t.Errorf("%d entries: what was replaced or dropped still weighs", c.Len())
	}
}
