// Package verifytokens_test runs the code of docs/verify-tokens.md, as it stands there
// but for addresses, against the real server: services in Go, Node and Python, and a
// server and clients of the Model Context Protocol.
package verifytokens_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	_ "github.com/coreos/go-oidc/v3/oidc" // the page's Go needs it
)

const (
	pageFile   = "../../docs/verify-tokens.md"
	pageIssuer = "https://idp.example.com" // the page's name for the issuer
)

var fenced = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$")

// code returns the one block of the page that is in a language and says something, with
// other addresses (pairs of old and new) in it; each of the old ones must be there.
func code(t *testing.T, language, says string, addresses ...string) string {
	t.Helper()
	page, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, block := range fenced.FindAllStringSubmatch(string(page), -1) {
		if block[1] == language && strings.Contains(block[2], says) {
			found = append(found, block[2])
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d blocks in %s of %s say %q, want one", len(found), language, pageFile, says)
	}
	for i := 0; i < len(addresses); i += 2 {
		if !strings.Contains(found[0], addresses[i]) {
			t.Fatalf("the block in %s that says %q does not name %s", language, says, addresses[i])
		}
	}
	return strings.NewReplacer(addresses...).Replace(found[0])
}
