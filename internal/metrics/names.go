package metrics

import "sync"

// maxNames is how many values a label may have that administrators choose.
const maxNames = 50

// otherName stands for all that come later.
const otherName = "other"

// names are the values of a label, the first maxNames that came.
type names struct {
	mu    sync.RWMutex
	known map[string]bool
}

// bounded returns the name, or otherName where there are too many.
func (n *names) bounded(name string) string {
	n.mu.RLock()
	known, full := n.known[name], len(n.known) >= maxNames
	n.mu.RUnlock()
	switch {
	case known || name == "":
		return name
	case full:
		return otherName
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil {
		n.known = make(map[string]bool)
	}
	if len(n.known) >= maxNames && !n.known[name] {
		return otherName
	}
	n.known[name] = true
	return name
}
