package strictjson

import (
	"bytes"
	"slices"
	"sync"
)

// few is how many members there is room for from the start, and how many
// are compared pair by pair. CI providers send some thirty claims.
const few = 40

const (
	problemTrailing   = "unexpected bytes after the value"
	problemUnexpected = "unexpected character or end of data"
	problemNumber     = "malformed number"
	problemDuplicate  = "duplicate name"
)

// scanner checks one document. It never reads a byte twice, and recursion is
// bounded by maxDepth.
type scanner struct {
	data     []byte
	pos      int
	depth    int
	maxDepth int

	// members are those of the objects that are open, innermost last. Those of
	// the outermost object stay when it closes.
	members []member
}

// scanners are those that nobody uses. What they have room for is positions alone.
var scanners = sync.Pool{New: func() any { return &scanner{members: make([]member, 0, few)} }}

func newScanner(data []byte, maxDepth int) *scanner {
	s := scanners.Get().(*scanner)
	s.data, s.pos, s.depth, s.maxDepth, s.members = data, 0, 0, maxDepth, s.members[:0]
	return s
}

// free gives a scanner back, unless a stranger's document has made it large.
func (s *scanner) free() {
	s.data = nil
	if cap(s.members) <= 4*few {
		scanners.Put(s)
	}
}

// member is a name and its value as positions in the data.
type member struct {
	start, end      int  // of the name, between its quotes
	escaped         bool // the name is spelled with escapes
	value, valueEnd int
}

func (s *scanner) fail(problem string) error { return &Error{Offset: s.pos, Problem: problem} }

// document checks that the data is one value and white space. It must begin with
// the character opening, unless that is 0.
func (s *scanner) document(opening byte) error {
	s.space()
	if opening != 0 && (s.pos == len(s.data) || s.data[s.pos] != opening) {
		if opening == '{' {
			return s.fail("not an object")
		}
		return s.fail("not an array")
	}
	if err := s.value(); err != nil {
		return err
	}
	if s.space(); s.pos != len(s.data) {
		return s.fail(problemTrailing)
	}
	return nil
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

// accept steps over c and reports true, if c is next.
func (s *scanner) accept(c byte) bool {
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *scanner) value() error {
	if s.pos == len(s.data) {
		return s.fail(problemUnexpected)
	}
	switch s.data[s.pos] {
	case '"':
		_, _, _, err := s.str()
		return err
	case '{':
		return s.object()
	case '[':
		return s.array()
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	}
	return s.number()
}

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
		return s.fail(problemUnexpected)
	}
	s.pos += len(word)
	return nil
}

// number follows the grammar of RFC 8259 §6. What a number can hold is not
// decided here: 1e400 is well-formed.
func (s *scanner) number() error {
	negative := s.accept('-')
	switch {
	case s.accept('0'):
	case s.digits():
	case negative:
		return s.fail(problemNumber)
	default:
		return s.fail(problemUnexpected)
	}
	if s.accept('.') && !s.digits() {
		return s.fail(problemNumber)
	}
	if s.accept('e') || s.accept('E') {
		if !s.accept('+') {
			s.accept('-')
		}
		if !s.digits() {
			return s.fail(problemNumber)
		}
	}
	if s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		return s.fail(problemNumber) // a leading zero
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > start
}

// open steps over the character that begins an object or array.
func (s *scanner) open() error {
	if s.depth++; s.depth > s.maxDepth {
		return s.fail("nesting too deep")
	}
	s.pos++
	s.space()
	return nil
}

func (s *scanner) array() error {
	if err := s.open(); err != nil {
		return err
	}
	for first := true; !s.accept(']'); first = false {
		if !first {
			if !s.accept(',') {
				return s.fail(problemUnexpected)
			}
			s.space()
		}
		if err := s.value(); err != nil {
			return err
		}
		s.space()
	}
	s.depth--
	return nil
}

func (s *scanner) object() error {
	if err := s.open(); err != nil {
		return err
	}
	base := len(s.members)
	for first := true; !s.accept('}'); first = false {
		if !first {
			if !s.accept(',') {
				return s.fail(problemUnexpected)
			}
			s.space()
		}
		if err := s.member(); err != nil {
			return err
		}
		s.space()
	}
	if err := s.unique(s.members[base:]); err != nil {
		return err
	}
	if s.depth > 1 {
		s.members = s.members[:base]
	}
	s.depth--
	return nil
}

// member reads a name and its value. It is appended after its value's own
// members are gone, so that the members of one object are neighbours.
func (s *scanner) member() error {
	if s.pos == len(s.data) || s.data[s.pos] != '"' {
		return s.fail(problemUnexpected)
	}
	var m member
	var err error
	if m.start, m.end, m.escaped, err = s.str(); err != nil {
		return err
	}
	if s.space(); !s.accept(':') {
		return s.fail(problemUnexpected)
	}
	s.space()
	m.value = s.pos
	if err := s.value(); err != nil {
		return err
	}
	m.valueEnd = s.pos
	s.members = append(s.members, m)
	return nil
}

// unique refuses two members of one name (RFC 7515 §4, RFC 7519 §4). It is called
// at the end of their object.
func (s *scanner) unique(members []member) error {
	if len(members) > few || slices.ContainsFunc(members, func(m member) bool { return m.escaped }) {
		return s.uniqueDecoded(members)
	}
	for i, m := range members {
		name := s.data[m.start:m.end]
		for _, other := range members[:i] {
			if bytes.Equal(name, s.data[other.start:other.end]) {
				return s.fail(problemDuplicate)
			}
		}
	}
	return nil
}

// uniqueDecoded decodes each name once and sorts them, so that an object made of
// names alone costs no quadratic time.
func (s *scanner) uniqueDecoded(members []member) error {
	if len(members) == 0 {
		return nil
	}
	base := members[0].start
	text := string(s.data[base:s.pos])
	names := make([]string, len(members))
	for i, m := range members {
		if names[i] = text[m.start-base : m.end-base]; m.escaped {
			names[i] = string(unescape([]byte(names[i])))
		}
	}
	slices.Sort(names)
	if len(slices.Compact(names)) < len(members) {
		return s.fail(problemDuplicate)
	}
	return nil
}
