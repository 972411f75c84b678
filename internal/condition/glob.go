package condition

// Glob reports whether s matches pattern as a whole. In a pattern, * stands for
// any number of bytes other than "/"; every other byte, including ?, [ and \,
// stands for itself.
//
// It takes at most len(pattern) × len(s) steps. Going back to the last * alone
// is enough: bytes that an earlier * could take instead hold no "/", so the
// last one can take them as well.
func Glob(pattern, s string) bool {
	p, i := 0, 0
	star, from := -1, 0 // the last *, and the first byte of s after what it took
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i]:
			p++
			i++
		case star >= 0 && s[from] != '/':
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
