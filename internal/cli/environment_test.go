package cli

import (
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func TestOnlySettingsAreTakenFromTheEnvironment(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&commands{})
	if err != nil {
		t.Fatal(err)
	}
	const far = ": there is no such setting; agentidp serve --help names all"
	unknown := func(name, nearest string) string {
		return name + ": there is no such setting; did you mean " + nearest + "?"
	}
	for _, tt := range []struct {
		name     string
		variable string
		want     string // the beginning; "" is no error
	}{
		{"a flag of serve", "AGENTIDP_LISTEN=127.0.0.1:8080", ""},
		{"the master key", "AGENTIDP_MASTER_KEY=x", ""},
		{"what clients use: the token", "AGENTIDP_TOKEN=x", ""},
		{"what clients use: the server", "AGENTIDP_SERVER=https://idp.example.com", ""},
		{"a test's", "AGENTIDP_TEST_X=1", ""},
		{"the bench's", "AGENTIDP_BENCH_ROLE=server", ""},
		{"what a test run must have", "AGENTIDP_REQUIRE_POSTGRES=1", ""},
		{"another program's", "LISTEN=1", ""},
		{"another program's with a name like ours", "AGENTIDPX_LISTEN=1", ""},
		{"Kubernetes: the Service's address", "AGENTIDP_SERVICE_HOST=10.0.0.1", ""},
		{"Kubernetes: the Service's port", "AGENTIDP_SERVICE_PORT_HTTP=80", ""},
		{"Kubernetes: a link", "AGENTIDP_PORT=tcp://10.0.0.1:80", ""},
		{"Kubernetes: a link's part", "AGENTIDP_PORT_80_TCP_ADDR=10.0.0.1", ""},
		{"Kubernetes: a Service beside it", "AGENTIDP_METRICS_SERVICE_PORT=9090", ""},
		{"a port that somebody hopes to set", "AGENTIDP_PORT=8080", "AGENTIDP_PORT" + far},
		{"a letter left out", "AGENTIDP_PUBLC_URL=x", unknown("AGENTIDP_PUBLC_URL", "AGENTIDP_PUBLIC_URL")},
		{"letters in another order", "AGENTIDP_TOKEN_TLT=5m", unknown("AGENTIDP_TOKEN_TLT", "AGENTIDP_TOKEN_TTL")},
		{"a secret with a typing error is not repeated", "AGENTIDP_MASTERKEY=hunter2", unknown("AGENTIDP_MASTERKEY", "AGENTIDP_MASTER_KEY")},
		{"nothing after the prefix", "AGENTIDP_=x", "AGENTIDP_" + far},
	} {
		got := ""
		if err := checkEnvironment(parser.Model.Node, []string{tt.variable}); err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
}
