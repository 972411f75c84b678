// Package strictjson reads JSON (RFC 8259) as a verifier must: there is one
// spelling of every name, and no two readers can see different values.
//
// encoding/json matches names regardless of case and with Unicode folding, lets
// the last of two equal names win, and replaces bytes that are no UTF-8. A token
// that passes through it can mean one thing to the issuer and another to the
// reader. This package refuses, at every level: a name that occurs twice
// (compared after its escapes are decoded), bytes that are not UTF-8, escapes of
// lone surrogates, NUL, and nesting beyond a cap.
//
// It owns the syntax alone. What a name means, which names there must be and what
// type they have is its callers' business; they compare names byte for byte. The one
// meaning that it knows is a date's, which every reader of a JWT must read alike.
package strictjson

import "fmt"

// Error says what is wrong with a document and where. It repeats nothing of the
// document, which may be a secret.
type Error struct {
	Offset  int    // in bytes; of a duplicate name: the end of its object
	Problem string // one of a fixed set of phrases
}

// Error implements the error interface.
func (e *Error) Error() string { return fmt.Sprintf("%s at byte %d", e.Problem, e.Offset) }

// Valid reports why data is not exactly one strict JSON value, or nil. maxDepth is
// how many objects and arrays may be open at once.
func Valid(data []byte, maxDepth int) error {
	s := newScanner(data, maxDepth)
	defer s.free()
	return s.document(0)
}

// Members calls visit for every member of the object that data must be, in the
// order of the document, with the decoded name and the bytes of the value. The
// whole document is checked, as by Valid, before the first call. An error that
// visit returns ends Members and is returned as it is.
//
// Names share one copy of data and values are parts of data.
func Members(data []byte, maxDepth int, visit func(name string, value []byte) error) error {
	s := newScanner(data, maxDepth)
	defer s.free()
	if err := s.document('{'); err != nil {
		return err
	}
	text := string(data)
	for i := range s.members {
		m := &s.members[i]
		name := text[m.start:m.end]
		if m.escaped {
			name = string(unescape(data[m.start:m.end]))
		}
		if err := visit(name, data[m.value:m.valueEnd:m.valueEnd]); err != nil {
			return err
		}
	}
	return nil
}

// Elements calls visit for every element of the array that data must be. The
// whole document is checked, as by Valid, before the first call. An error that
// visit returns ends Elements and is returned as it is.
func Elements(data []byte, maxDepth int, visit func(value []byte) error) error {
	s := newScanner(data, maxDepth)
	defer s.free()
	if err := s.document('['); err != nil {
		return err
	}
	// The second reading meets only what the first found valid.
	s.pos = 0
	s.space()
	s.pos++
	for s.space(); s.data[s.pos] != ']'; s.space() {
		start := s.pos
		if err := s.value(); err != nil {
			return err
		}
		if err := visit(data[start:s.pos:s.pos]); err != nil {
			return err
		}
		s.space()
		s.accept(',')
	}
	return nil
}

// String returns the text of value, which must be exactly one JSON string, with
// its escapes decoded.
func String(value []byte) (string, error) {
	s := scanner{data: value}
	if len(value) == 0 || value[0] != '"' {
		return "", s.fail("not a string")
	}
	start, end, escaped, err := s.str()
	switch {
	case err != nil:
		return "", err
	case s.pos != len(value):
		return "", s.fail(problemTrailing)
	case escaped:
		return string(unescape(value[start:end])), nil
	}
	return string(value[start:end]), nil
}
