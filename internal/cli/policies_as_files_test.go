package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPoliciesAsFilesByTheBook does what docs/policies-as-files.md says: its files are
// judged and applied by the agent of its workflow, by the workflow's own commands, and
// what is exported then is found unchanged.
func TestPoliciesAsFilesByTheBook(t *testing.T) {
	t.Parallel()
	n := newNewcomer(t, "../../docs/getting-started.md")
	emulate := strings.Replace(n.block("emulate github"), "emulate github", "emulate github --environment policies --claim job_workflow_ref=org/your-repo/.github/workflows/policies.yml@refs/heads/main", 1)
	n.trusts(emulate, n.block("AGENTIDP_DEV=true"))
	n.reads("../../docs/policies-as-files.md")

	yamls := regexp.MustCompile("(?ms)^```yaml\n(.*?)^```$").FindAllStringSubmatch(n.document, -1)
	if len(yamls) != 2 {
		t.Fatalf("the document has %d examples in YAML", len(yamls))
	}
	file := filepath.Join(n.folder, "policies", "your-repo.yaml")
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(yamls[0][1]), 0o600); err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`(?m)^ +- run: (agentidp .*)$`).FindAllStringSubmatch(yamls[1][1], -1)
	if len(commands) != 2 {
		t.Fatalf("the workflow runs %d commands", len(commands))
	}

	n.session = n.run(n.block("policy lint"))
	n.says(2, `^policies/your-repo.yaml:\d+: C: github org/your-repo `)
	n.session = n.run(n.block("agent create --name policies@"))
	n.says(1, "^environment: +policies$")
	n.run("ADMIN=$AGENTIDP_TOKEN\n" + `export AGENTIDP_TOKEN=$(agentidp token exchange --agent-id "$APPLIER" --audience "$AGENTIDP_SERVER/api/v1")` + "\n")
	for _, command := range commands { // as the workflow's agent
		n.session = n.run(command[1] + "\n")
	}
	n.says(1, `^Applied: 2 created, 0 updated, 0 deleted\.$`)
	n.says(2, `^  keep |^created .* tag v\* bootstrap$`) // its own policy is in no file
	n.session = n.run(n.block("policy apply -f policies/\n"))
	n.says(2, `^Plan: 0 to create, 0 to update, 0 to delete\.$`)

	n.run("rm policies/your-repo.yaml\n")
	n.session = n.run(n.block("policy export"))
	n.says(1, `^policies/github/org/your-repo.yaml  3 policies$`)
	n.says(1, `^= 3 unchanged$`)
	n.session = n.run(`sed -i.before '/workflow:/d' policies/github/org/your-repo.yaml` + "\n" +
		`agentidp policy apply -f policies/ 2>&1 || export AGENTIDP_TOKEN=$ADMIN` + "\n")
	n.says(1, `insufficient_scope`) // no commit widens the policy by which commits are applied
	n.session = n.run("agentidp policy list --mode enforce -o json\n")
	n.says(1, `"workflow":".github/workflows/policies.yml"`)
}
