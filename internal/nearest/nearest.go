// Package nearest finds the name that somebody probably meant, among those that there are:
// of a setting, of a flag, of a claim.
package nearest

import "slices"

// maxDistance is how many letters a typing error may have; what is further away is
// no suggestion.
const maxDistance = 2

// Name returns the known name that somebody probably meant, if there is one; of several
// that are equally near, the first.
func Name(name string, known []string) (string, bool) {
	if len(known) == 0 {
		return "", false
	}
	n := slices.MinFunc(known, func(a, b string) int { return distance(name, a) - distance(name, b) })
	return n, distance(name, n) <= maxDistance
}

// distance is how many letters have to be put in, taken out or replaced to make b
// of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
