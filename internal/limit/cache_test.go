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
}
