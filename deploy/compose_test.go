package deploy_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

type service struct {
	Image       string            `yaml:"image"`
	Environment map[string]string `yaml:"environment"`
	Secrets     []string          `yaml:"secrets"`
	Ports       []string          `yaml:"ports"`
	ReadOnly    bool              `yaml:"read_only"`
	Privileged  bool              `yaml:"privileged"`
	CapDrop     []string          `yaml:"cap_drop"`
	SecurityOpt []string          `yaml:"security_opt"`
	Networks    yaml.Node         `yaml:"networks"`
	Healthcheck struct {
		Test []string `yaml:"test"`
	} `yaml:"healthcheck"`
}

// compose reads the compose file, with its references followed.
func compose(t *testing.T) (services map[string]service) {
	t.Helper()
	var file struct {
		Services map[string]service `yaml:"services"`
	}
	if err := yaml.Unmarshal([]byte(read(t, "compose.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	return file.Services
}

// What holds for the services of the compose file.
func TestTheComposeFile(t *testing.T) {
	t.Parallel()
	services := compose(t)
	nodes := 0
	for name, s := range services {
		node := strings.HasPrefix(name, "agentidp-")
		if node {
			nodes++
		}
		for _, rule := range []struct {
			what  string
			holds bool
		}{
			{"it has no privileges to gain", slices.Contains(s.SecurityOpt, "no-new-privileges:true") && !s.Privileged},
			{"its image has a version", node || regexp.MustCompile(`^docker\.io/.+:\d`).MatchString(s.Image)},
			{"only the proxy can be reached from outside", (name == "proxy") == (len(s.Ports) > 0)},
			{"it writes to its volumes alone", name == "postgres" || s.ReadOnly},
			{"it has no capability that it does not need", name == "postgres" || slices.Equal(s.CapDrop, []string{"ALL"})},
			{"no password stands in its environment", !regexp.MustCompile(`://[^@/ ]*:[^@/ ]*@`).MatchString(strings.Join(values(s.Environment), " "))},
			{"its health is asked without a shell", len(s.Healthcheck.Test) == 0 || s.Healthcheck.Test[0] == "CMD"},
		} {
			if !rule.holds {
				t.Errorf("%s: %s: not so", name, rule.what)
			}
		}
	}
	if nodes != 2 || len(services) != 4 {
		t.Errorf("%d nodes and %d services", nodes, len(services))
	}
}

func values(m map[string]string) (all []string) {
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// The program takes what the compose file sets for it, and the nodes trust the proxy's
// address alone.
func TestTheSettingsOfTheComposeFile(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	agentidp, key := built(t, dir), filepath.Join(dir, "master.key")
	if err := os.WriteFile(key, []byte("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="), 0o600); err != nil {
		t.Fatal(err)
	}
	services := compose(t)
	var proxy struct {
		Front struct {
			Address string `yaml:"ipv4_address"`
		} `yaml:"front"`
	}
	networks := services["proxy"].Networks
	if err := networks.Decode(&proxy); err != nil {
		t.Fatal(err)
	}
	env := append(ownEnvironment(), "AGENTIDP_DATA_DIR="+filepath.Join(dir, "data"), "AGENTIDP_LISTEN=0.0.0.0:8080") // of the image
	for name, value := range services["agentidp-1"].Environment {
		value = strings.ReplaceAll(strings.ReplaceAll(value, "${AGENTIDP_HOST:?put AGENTIDP_HOST=idp.example.com into .env}", "idp.example.com"), "/run/secrets", dir)
		env = append(env, name+"="+value)
	}
	cmd := exec.Command(agentidp, "serve", "--check-config")
	cmd.Env = env
	out := run(t, cmd)
	if want := regexp.MustCompile(`(?m)^trusted-proxies +\S*` + regexp.QuoteMeta(proxy.Front.Address) + `\S* +\S*AGENTIDP_TRUSTED_PROXIES`); proxy.Front.Address == "" || !want.MatchString(out) {
		t.Errorf("the nodes do not trust the proxy, %q:\n%s", proxy.Front.Address, out)
	}
}
