package config

import "regexp"

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
