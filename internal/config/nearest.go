package config

import (
	"regexp"
	"slices"
)

// maxDistance is how many letters a typing error may have; what is further away is
// no suggestion.
const maxDistance = 2

// Nearest returns the known name that somebody probably meant, if there is one.
func Nearest(name string, known []string) (string, bool) {
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

// In a URL, a password stands before the last @, or is a parameter. What is no good
// URL, because the password was not encoded, must be found too.
var (
	userPassword  = regexp.MustCompile(`(://[^:@/?#]*):.*@`)
	queryPassword = regexp.MustCompile(`([?&](?:ssl)?password=)[^&#]*`)
)

// Masked returns a text without the password that a URL in it has.
func Masked(text string) string {
	return queryPassword.ReplaceAllString(userPassword.ReplaceAllString(text, "$1:xxxxx@"), "${1}xxxxx")
}
