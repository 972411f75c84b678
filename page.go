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

// Check fills in the default and refuses what cannot be.
func (p *Page) Check() error {
	if p.Limit == 0 {
		p.Limit = DefaultLimit
	}
	if p.Limit < 1 || p.Limit > MaxLimit {
		return InvalidFields(FieldError{Field: "limit", Reason: "must be from 1 to 200"})
	}
	if p.Cursor != "" && !IsID(p.Cursor) {
		return InvalidFields(FieldError{Field: "cursor", Reason: "is not a cursor of this list; use nextCursor as it was given"})
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
