package policy_test

import (
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/providers"
)

// A claim that GitHub's tokens are not known to have is accepted, for there may be new
// ones, and is told of with the name that was probably meant.
func TestUnknownClaims(t *testing.T) {
	t.Parallel()
	kinds, err := providers.Kinds()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		policy  *agentidp.TrustPolicy
		kind    string
		message string // a part of it; "": there is no warning
	}{
		{"a claim of GitHub", pol(hosted), "github", ""},
		{"a property that an organization defined", pol(needs("repo_property_tier", "gold")), "github", ""},
		{"a typing error", pol(needs("runner_envronment", "github-hosted")), "github",
			"The claim runner_envronment is none that tokens of kind github are known to have, and this policy grants nothing to a token without it. Is runner_environment meant? Check its name."},
		{"another case", pol(needs("Environment", "prod")), "github", "Is environment meant?"},
		{"nothing alike", pol(needs("team", "a")), "github", "without it. Check its name."},
		{"what is alike cannot be named itself", pol(needs("actors", "octocat")), "github", "without it. Check its name."},
		{"any claim of an issuer of which nothing is known", pol(workload("build"), needs("team", "a")), "oidc", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if bad := policy.Validate(&test.policy.TrustPolicySpec, kinds[test.kind], now); bad != nil {
				t.Fatalf("refused: %v", bad)
			}
			var got []string
			for _, w := range policy.Warnings(test.policy, kinds[test.kind], now) {
				if w.Code == "unknown_claim" {
					got = append(got, w.Message)
				}
			}
			if (test.message == "") != (len(got) == 0) || !strings.Contains(strings.Join(got, "\n"), test.message) {
				t.Errorf("%q, want … %s …", got, test.message)
			}
		})
	}
}
