package agentidp_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	pageLink = regexp.MustCompile(`\]\(([^)\s:]+)\)`) // a colon is another site's
	notShown = regexp.MustCompile("(?ms)^```.*?^```$|`[^`\n]*`")
	linkMark = regexp.MustCompile(`[^a-z0-9 _-]`)
)

// TestLinksOfThePages follows every link from a page to another, to a section, or to a
// file of the repository.
func TestLinksOfThePages(t *testing.T) {
	pages := []string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/decisions/*.md", "actions/*.md", "actions/*/README.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	links := 0
	for _, page := range pages {
		for _, link := range pageLink.FindAllStringSubmatch(notShown.ReplaceAllString(read(t, page), ""), -1) {
			links++
			path, section, _ := strings.Cut(link[1], "#")
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s leads nowhere", page, link[1])
			} else if section != "" && !sections(t, target)[section] {
				t.Errorf("%s: %s has no section %s", page, target, section)
			}
		}
	}
	if len(pages) < 30 || links < 200 {
		t.Errorf("only %d links on %d pages", links, len(pages))
	}
}

// sections are a page's, as GitHub names them.
func sections(t *testing.T, page string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for line := range strings.Lines(regexp.MustCompile("(?ms)^```.*?^```$").ReplaceAllString(read(t, page), "")) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			names[strings.ReplaceAll(linkMark.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), ""), " ", "-")] = true
		}
	}
	return names
}
