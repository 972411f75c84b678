package config_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/sentryagent/agentidp/internal/config"
)

var update = flag.Bool("update", false, "write what docs have from config.Config")

// manual returns the settings as the command line has them, in groups.
func manual(t *testing.T) (groups []string, settings map[string][]*kong.Flag) {
	t.Helper()
	k, err := kong.New(&config.Config{})
	if err != nil {
		t.Fatal(err)
	}
	settings = map[string][]*kong.Flag{}
	for _, f := range k.Model.Flags {
		if len(f.Envs) == 0 {
			continue
		}
		group := "Others"
		if f.Group != nil {
			group = f.Group.Title
		}
		if settings[group] == nil {
			groups = append(groups, group)
		}
		settings[group] = append(settings[group], f)
	}
	return groups, settings
}

const (
	begin = "<!-- The tables are made from internal/config/config.go: make config-docs -->\n"
	end   = "<!-- Here the tables end. -->\n"
)

// TestTheCommittedManualIsTheConfigStruct holds the pages of the settings against the
// struct; -update writes them.
func TestTheCommittedManualIsTheConfigStruct(t *testing.T) {
	t.Parallel()
	groups, settings := manual(t)
	tables, example := &strings.Builder{}, &strings.Builder{}
	example.WriteString(exampleHead)
	for _, group := range groups {
		fmt.Fprintf(tables, "\n## %s\n\n| setting | variable | default | meaning |\n| --- | --- | --- | --- |\n", group)
		fmt.Fprintf(example, "\n# %s\n", group)
		for _, f := range settings[group] {
			fmt.Fprintf(tables, "| `%s` | `%s` | %s | %s |\n", f.Name, f.Envs[0], defaultOf(f), strings.TrimSpace(f.Help+" "+f.Tag.Get("doc")))
			if f.Name != "config" {
				fmt.Fprintf(example, "\n%s#%s: %s\n", comment(f.Help), f.Name, exampleOf(f))
			}
		}
	}
	tables.WriteString("\n")
	same(t, "../../docs/agentidp.example.yaml", func(string) string { return example.String() })
	same(t, "../../docs/configuration.md", func(page string) string {
		before, rest, ok := strings.Cut(page, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			t.Fatal("docs/configuration.md has lost the place of its tables")
		}
		return before + begin + tables.String() + end + after
	})
}

// same holds a committed file against what it should be.
func same(t *testing.T, path string, should func(is string) string) {
	t.Helper()
	is, err := os.ReadFile(path)
	if err != nil && !*update {
		t.Fatal(err)
	}
	want := should(string(is))
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := gocmp.Diff(string(is), want); diff != "" {
		t.Errorf("%s is not what internal/config says; run: make config-docs\n%s", path, diff)
	}
}

// saidDefault finds the default of a setting that depends on others.
var saidDefault = regexp.MustCompile(`\(default(?:, [^:]*)?: ([^)]*)\)`)

func defaultOf(f *kong.Flag) string {
	switch said := saidDefault.FindStringSubmatch(f.Help); {
	case f.HasDefault && f.Default != "":
		return "`" + f.Default + "`"
	case f.IsBool():
		return "`false`"
	case said != nil:
		return said[1]
	}
	return "none"
}

const exampleHead = `# Settings of agentidp serve, and of every command that works on the database:
#   agentidp serve --config agentidp.yaml --check-config
# Each line that begins with # and a name is a setting with its default, or with an
# example where it has none. docs/configuration.md says more.
`

func exampleOf(f *kong.Flag) string {
	if f.IsBool() {
		return cmp.Or(f.Default, "false")
	}
	return cmp.Or(f.Tag.Get("example"), f.Default, "...")
}

// comment wraps a text for people.
func comment(text string) string {
	const width = 88
	var b strings.Builder
	line := "#"
	for _, word := range strings.Fields(text) {
		if len(line)+1+len(word) > width {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	return b.String() + line + "\n"
}

// Every setting has what the manual needs, and is called the same everywhere.
func TestEverySettingIsExplained(t *testing.T) {
	t.Parallel()
	groups, settings := manual(t)
	for _, group := range groups {
		for _, f := range settings[group] {
			if want := "AGENTIDP_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_")); f.Envs[0] != want {
				t.Errorf("%s: its variable is %s, want %s", f.Name, f.Envs[0], want)
			}
			if !strings.HasSuffix(f.Help, ".") {
				t.Errorf("%s: its help is no sentence: %q", f.Name, f.Help)
			}
			if strings.ContainsAny(f.Help+f.Tag.Get("doc"), "|\n") {
				t.Errorf("%s: its help does not fit into a table", f.Name)
			}
		}
	}
}

// The example can be used as it is, and each of its lines without its #.
func TestTheExampleLoads(t *testing.T) {
	t.Parallel()
	groups, settings := manual(t)
	var known []config.Key
	for _, group := range groups {
		for _, f := range settings[group] {
			known = append(known, config.Key{Name: f.Name, Sep: map[bool]string{true: ","}[f.IsSlice()]})
		}
	}
	text, err := os.ReadFile("../../docs/agentidp.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := config.ReadFile(write(t, string(text)), known); err != nil {
		t.Error(err)
	}
	all := regexp.MustCompile(`(?m)^#([a-z][a-z0-9-]*: )`).ReplaceAllString(string(text), "$1")
	f, err := config.ReadFile(write(t, all), known)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range known {
		if _, ok := f.Lookup(k.Name); ok != (k.Name != "config") {
			t.Errorf("%s is in the example: %v", k.Name, ok)
		}
	}
}
