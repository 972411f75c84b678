// Package compose reads deploy/compose.yaml as Docker Compose does, with its own loader:
// what docker compose config says of it. No daemon is asked.
package compose

import (
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

func load(t *testing.T, env ...string) (*types.Project, error) {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"../../deploy/compose.yaml"}, cli.WithEnv(env))
	if err != nil {
		t.Fatal(err)
	}
	return options.LoadProject(t.Context())
}

// Compose takes the file, and starts what it names in order: PostgreSQL, the nodes once it
// answers, the proxy.
func TestComposeReadsTheFile(t *testing.T) {
	project, err := load(t, "AGENTIDP_HOST=idp.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"agentidp-1", "agentidp-2"} {
		node, err := project.GetService(name)
		if err != nil {
			t.Fatal(err)
		}
		url := node.Environment["AGENTIDP_PUBLIC_URL"]
		waits := node.DependsOn["postgres"]
		if url == nil || *url != "https://idp.example.com" || waits.Condition != types.ServiceConditionHealthy || !node.ReadOnly || node.StopGracePeriod == nil {
			t.Errorf("%s: %+v", name, node)
		}
	}
	proxy, err := project.GetService("proxy")
	if err != nil || proxy.Networks["front"].Ipv4Address != "172.30.31.2" || len(proxy.DependsOn) != 2 {
		t.Errorf("proxy: %+v %v", proxy, err)
	}
}

// Without the name that clients know it by, nothing is started, and it is said where the
// name belongs.
func TestComposeNeedsTheHost(t *testing.T) {
	if _, err := load(t); err == nil || !strings.Contains(err.Error(), "put AGENTIDP_HOST=idp.example.com into .env") {
		t.Errorf("without a host: %v", err)
	}
}
