package agentidp

// Page bounds of every list.
const (
	DefaultLimit = 50
	MaxLimit     = 200
)

// Page asks for one page of a list.
type Page struct {
	Cursor string // the last id of the page before, or empty
	Limit  int    // 0: DefaultLimit
}

// Check fills in the default and refuses what cannot be, together with what is wrong
// with the list's filter.
func (p *Page) Check(bad FieldErrors) error {
	if p.Limit == 0 {
		p.Limit = DefaultLimit
	}
	if p.Limit < 1 || p.Limit > MaxLimit {
		bad.Refuse("limit", "must be from 1 to 200")
	}
	if p.Cursor != "" && !IsID(p.Cursor) {
		bad.Refuse("cursor", "is not a cursor of this list; use nextCursor as it was given")
	}
	if len(bad) > 0 {
		return InvalidFields(bad...)
	}
	return nil
}

// CutPage returns the items of a checked page, and the cursor of the next one, which
// is empty at the end. items are what a read of one more than Limit found.
func CutPage[T any](p Page, items []T, id func(*T) string) (page []T, next string) {
	if len(items) <= p.Limit {
		return items, ""
	}
	return items[:p.Limit], id(&items[p.Limit-1])
}
