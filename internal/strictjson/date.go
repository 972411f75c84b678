package strictjson

import "strconv"

// maxDate is the last second of the year 9999; RFC 3339 has no form for later ones.
const maxDate = 253402300799

// Date returns the seconds since 1970 of value, which must be exactly one JSON number
// from then until the end of the year 9999 (NumericDate, RFC 7519 §2). Fractions are
// dropped. What does not fit a date is refused, never wrapped around or rounded to one.
func Date(value []byte) (seconds int64, ok bool) {
	s := scanner{data: value}
	// ParseFloat alone would also take hexadecimal, and names such as inf.
	if err := s.number(); err != nil || s.pos != len(value) || value[0] == '-' {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil || f > maxDate {
		return 0, false
	}
	return int64(f), true
}
