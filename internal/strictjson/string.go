package strictjson

import (
	"unicode/utf16"
	"unicode/utf8"
)

// plain marks the bytes that stand for themselves in a string: ASCII without
// control characters, quote and backslash.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// str checks the string that begins at s.pos and steps over it. It returns the
// bounds of what is between the quotes, and whether that holds an escape.
func (s *scanner) str() (start, end int, escaped bool, err error) {
	data := s.data
	i := s.pos + 1
	start = i
	for i < len(data) {
		c := data[i]
		switch {
		case plain[c]:
			i++
		case c == '"':
			s.pos = i + 1
			return start, i, escaped, nil
		case c == '\\':
			_, n, problem := escape(data[i:])
			if problem != "" {
				s.pos = i
				return 0, 0, false, s.fail(problem)
			}
			escaped = true
			i += n
		case c < 0x20:
			s.pos = i
			return 0, 0, false, s.fail("control character in a string")
		default:
			// DecodeRune refuses overlong forms and encoded surrogates.
			r, n := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && n <= 1 {
				s.pos = i
				return 0, 0, false, s.fail("bytes that are not UTF-8")
			}
			i += n
		}
	}
	s.pos = i
	return 0, 0, false, s.fail("unterminated string")
}

// escape decodes the escape sequence that begins b, of n bytes. A surrogate pair
// is one sequence. Problem is empty for a good one.
func escape(b []byte) (r rune, n int, problem string) {
	const malformed = "malformed escape"
	if len(b) < 2 {
		return 0, 0, malformed
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2, ""
	case 'b':
		return '\b', 2, ""
	case 'f':
		return '\f', 2, ""
	case 'n':
		return '\n', 2, ""
	case 'r':
		return '\r', 2, ""
	case 't':
		return '\t', 2, ""
	}
	r, ok := hex4(b)
	switch {
	case !ok:
		return 0, 0, malformed
	case r == 0:
		return 0, 0, "NUL in a string"
	case !utf16.IsSurrogate(r):
		return r, 6, ""
	}
	low, ok := hex4(b[6:])
	if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
		return 0, 0, "escape of a lone surrogate"
	}
	return r, 12, ""
}

// hex4 decodes \uXXXX at the beginning of b.
func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unescape decodes what is between the quotes of a string that str accepted.
func unescape(body []byte) []byte {
	out := make([]byte, 0, len(body))
	for i := 0; i < len(body); {
		if body[i] != '\\' {
			out = append(out, body[i])
			i++
			continue
		}
		r, n, _ := escape(body[i:])
		out = utf8.AppendRune(out, r)
		i += n
	}
	return out
}
