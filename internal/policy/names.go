package policy

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// asciiGraphic are the printable characters of ASCII but the space.
const asciiGraphic = "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"

const (
	maxOwnerLength = 39
	maxNameLength  = 100
)

const repositoryRemedy = "Write owner/name, for example acme/deploy."

// RepositoryProblem says what is wrong with a repository, or "". The charset is
// GitHub's. It is also what keeps look-alikes out: a policy cannot say what no
// token can carry.
func RepositoryProblem(s string) string {
	owner, name, ok := strings.Cut(s, "/")
	switch {
	case s == "":
		return "is required. " + repositoryRemedy
	case strings.Contains(s, "://"):
		return "is the repository's name, not its address. " + repositoryRemedy
	case strings.ContainsAny(s, `*?[]{}()|^$+\`):
		return "wildcards and regular expressions are not supported: a policy is for exactly one repository. " + repositoryRemedy
	case !ok || strings.Contains(name, "/"):
		return said(s) + "is not of the form owner/name. " + repositoryRemedy
	case !isOwner(owner):
		return fmt.Sprintf("the owner is not a name that GitHub gives: ASCII letters, digits, underscores and single hyphens, no hyphen at either end, at most %d characters. %s", maxOwnerLength, repositoryRemedy)
	case !isRepositoryName(name):
		return fmt.Sprintf("the name is not one that GitHub gives: ASCII letters, digits, hyphens, underscores and dots, at most %d characters. %s", maxNameLength, repositoryRemedy)
	case len(name) > 4 && strings.EqualFold(name[len(name)-4:], ".git"):
		return "a repository's name has no .git at its end. Write " + strconv.Quote(s[:len(s)-4]) + "."
	}
	return ""
}

// isOwner allows underscores: the logins of enterprise-managed users have one.
func isOwner(s string) bool {
	return s != "" && len(s) <= maxOwnerLength && !strings.ContainsFunc(s, func(c rune) bool { return !isAlnum(c) && c != '-' && c != '_' }) &&
		s[0] != '-' && s[len(s)-1] != '-' && !strings.Contains(s, "--")
}

func isRepositoryName(s string) bool {
	return s != "" && len(s) <= maxNameLength && s != "." && s != ".." &&
		!strings.ContainsFunc(s, func(c rune) bool { return !isAlnum(c) && c != '-' && c != '_' && c != '.' })
}

func isAlnum(c rune) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

func branchProblem(s string) string {
	switch {
	case strings.HasPrefix(s, "refs/"):
		return shortProblem(s, branchPrefix, "main")
	case strings.ContainsAny(s, "*?["):
		return "wildcards are not supported: a branch is compared exactly, character by character. Make one policy for each branch, or leave branch out for any."
	}
	return refProblem(s)
}

func tagProblem(s string) string {
	switch {
	case strings.HasPrefix(s, "refs/"):
		return shortProblem(s, tagPrefix, "v*")
	case strings.ContainsAny(s, "?["):
		return "only * is special in a tag pattern. Write for example v*."
	case strings.Contains(s, "**"):
		return "** is not supported: * stands for anything within one segment between slashes. Write for example release/*."
	case !strings.Contains(s, "*"):
		return refProblem(s)
	}
	// What * may stand for makes no difference to the rules of git.
	if problem := refProblem(strings.ReplaceAll(s, "*", "x")); problem != "" {
		return "no tag can match this pattern: what it describes " + problem
	}
	return ""
}

// shortProblem is for a whole ref where its short name is meant.
func shortProblem(s, prefix, example string) string {
	short, ok := strings.CutPrefix(s, prefix)
	if !ok || said(short) == "" {
		short = example
	}
	return fmt.Sprintf("is the short name. Write %s, not %s%s.", short, prefix, short)
}

// refProblem says what is wrong with the short name of a branch or tag, or "".
// The rules are those of git-check-ref-format: a name that git refuses is in no
// token, and an administrator who wrote one meant another.
func refProblem(s string) string {
	if problem := textProblem(s, maxRefLength); problem != "" {
		return problem
	}
	if strings.ContainsAny(s, " ~^:?*[\\") || strings.Contains(s, "..") || strings.Contains(s, "@{") ||
		s == "@" || s[0] == '-' || strings.HasSuffix(s, ".") {
		return said(s) + "is not a name that git allows. Write it as git branch or git tag shows it."
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return said(s) + "is not a name that git allows: a part between slashes is empty, begins with a dot or ends in .lock."
		}
	}
	return ""
}

// textProblem refuses what cannot be seen: two names that look alike must be
// alike.
func textProblem(s string, most int) string {
	switch {
	case !utf8.ValidString(s):
		return "is not valid UTF-8."
	case len(s) > most:
		return fmt.Sprintf("is longer than %d bytes.", most)
	case strings.TrimFunc(s, isInvisible) != s:
		return "begins or ends with white space or an invisible character. Remove it."
	case strings.ContainsFunc(s, isControl):
		return "contains control characters. Remove them."
	}
	return ""
}

// isInvisible covers white space of every script (A-119: the no-break space)
// and format characters such as the zero-width space.
func isInvisible(c rune) bool {
	return unicode.IsSpace(c) || unicode.Is(unicode.Cf, c) || unicode.IsControl(c)
}

// isControl covers control characters, line and paragraph separators, and those
// that reorder the text around them.
func isControl(c rune) bool {
	return unicode.IsControl(c) || c == '\u2028' || c == '\u2029' || unicode.Is(unicode.Bidi_Control, c)
}

// said quotes what the administrator wrote, with a space behind it, or returns
// "" where it is too long or not printable: an answer is no place for it then.
func said(s string) string {
	if s == "" || len(s) > 80 || !utf8.ValidString(s) || strings.ContainsFunc(s, func(c rune) bool { return !strconv.IsPrint(c) }) {
		return ""
	}
	return strconv.Quote(s) + " "
}
