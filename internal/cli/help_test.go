package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
)

// eachCommand calls back for the program and every command, in the order of --help.
func eachCommand(t *testing.T, visit func(*kong.Node)) {
	t.Helper()
	parser, err := newParser(t.Context(), &IO{}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	var walk func(*kong.Node)
	walk = func(n *kong.Node) {
		visit(n)
		for _, child := range n.Children {
			walk(child)
		}
	}
	walk(parser.Model.Node)
}

func TestHelp(t *testing.T) {
	t.Setenv("COLUMNS", "")
	texts := []string{}
	eachCommand(t, func(n *kong.Node) {
		name := strings.ReplaceAll(n.FullPath(), " ", "-") + ".txt"
		texts = append(texts, name)
		var out strings.Builder
		if code := Main(t.Context(), append(strings.Fields(n.Path()), "--help"), &IO{Out: &out, Err: &out}); code != exitOK {
			t.Errorf("%s --help: exit code %d", n.FullPath(), code)
		}
		for line := range strings.Lines(out.String()) {
			if len([]rune(line)) > helpWidth+1 {
				t.Errorf("%s --help: a line is wider than %d columns: %s", n.FullPath(), helpWidth, line)
			}
		}
		snapshot(t, "help/"+name, out.String())
	})
	files, err := filepath.Glob("testdata/help/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !slices.Contains(texts, filepath.Base(file)) {
			t.Errorf("%s is of no command: remove it", file)
		}
	}
}

// exampleLines are the commands of a help's examples, each in one line.
func exampleLines(detail string) []string {
	_, examples, found := strings.Cut(detail, "Example")
	if !found {
		return nil
	}
	_, examples, _ = strings.Cut(examples, "\n")
	examples = strings.ReplaceAll(examples, "\\\n", " ")
	var lines []string
	for line := range strings.Lines(examples) {
		for _, part := range regexp.MustCompile(`agentidp [^|)>]+`).FindAllString(line, -1) {
			lines = append(lines, strings.TrimSpace(part))
		}
	}
	return lines
}

var shellWord = regexp.MustCompile(`(?:'[^']*'|"[^"]*"|[^\s'"])+`)

// Every command has a sentence and an example, and the example is a command line that
// the program takes.
func TestEveryCommandIsExplained(t *testing.T) {
	t.Setenv("AGENTIDP_SERVER", "https://idp.example.com")
	eachCommand(t, func(n *kong.Node) {
		if n.Help == "" || !strings.HasSuffix(n.Help, ".") {
			t.Errorf("%s: %q is no sentence", n.FullPath(), n.Help)
		}
		for _, f := range n.Flags {
			if f.Help == "" {
				t.Errorf("%s --%s: nothing says what it is", n.FullPath(), f.Name)
			}
		}
		examples := exampleLines(n.Detail)
		if n.Leaf() && !strings.Contains(strings.Join(examples, "\n"), n.FullPath()) {
			t.Errorf("%s: its help has no example of it", n.FullPath())
		}
		for _, example := range examples {
			if err := takes(t, example); err != nil {
				t.Errorf("%s: the example %q is refused: %v", n.FullPath(), example, err)
			}
		}
	})
}

// takes returns why the program would not take a command line, or nil.
func takes(t *testing.T, line string) error {
	t.Helper()
	parser, err := newParser(t.Context(), &IO{}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	words := shellWord.FindAllString(line, -1)[1:]
	for i := range words {
		words[i] = strings.NewReplacer(`'`, "", `"`, "").Replace(words[i])
	}
	k, err := parser.Parse(words)
	if err != nil {
		return err
	}
	return checkGiven(k)
}

var (
	commandBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")
	commandLine  = regexp.MustCompile(`\bagentidp [a-z][^|)>;&#\n]*`)
	otherCommand = regexp.MustCompile(`(?m)^docker .*$|\bsudo -u agentidp `) // the name of an image, of a user
	blank        = regexp.MustCompile(`<[a-z _]*>|"\$\w+"|\$\(date [^)]*\)`)
)

// A command that the manual shows is one that the program takes, with these flags.
// What incident.md and stolen-secret.md show is run (TestTheBreachDrill,
// TestTheStolenSecretDrill).
func TestCommandsOfTheManualAreTaken(t *testing.T) {
	t.Setenv("AGENTIDP_SERVER", "https://idp.example.com")
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	fill := func(blank string) string {
		if strings.Contains(blank, "repository") {
			return "74"
		}
		return "01a20199-cc89-7395-a8d3-a5f7089d1b41"
	}
	seen := 0
	for _, file := range append(files, "../../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if name := filepath.Base(file); name == "incident.md" || name == "stolen-secret.md" {
			continue
		}
		for _, block := range commandBlock.FindAllStringSubmatch(string(text), -1) {
			script := blank.ReplaceAllStringFunc(otherCommand.ReplaceAllString(strings.ReplaceAll(block[1], "\\\n", " "), ""), fill)
			for _, line := range commandLine.FindAllString(script, -1) {
				seen++
				if err := takes(t, line); err != nil {
					t.Errorf("%s: %q is refused: %v", filepath.Base(file), strings.TrimSpace(line), err)
				}
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d commands were found", seen)
	}
}

func TestEveryCommandHasAConversation(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var scripts strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		scripts.Write(text)
	}
	eachCommand(t, func(n *kong.Node) {
		if n.Leaf() && !strings.Contains(scripts.String(), " "+n.FullPath()) {
			t.Errorf("%s: no script in testdata/script runs it", n.FullPath())
		}
	})
}

const (
	generatedBegin = "<!-- what follows is written by: go test ./internal/cli -run TestTheCommandsOfTheManual -update -->\n"
	generatedEnd   = "<!-- until here -->\n"
)

func TestTheCommandsOfTheManual(t *testing.T) {
	t.Parallel()
	const file = "../../docs/cli.md"
	manual, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, began := strings.Cut(string(manual), generatedBegin)
	_, after, ended := strings.Cut(rest, generatedEnd)
	if !began || !ended {
		t.Fatalf("%s has no place for the commands", file)
	}
	var b strings.Builder
	b.WriteString("\n| command | what it does |\n| --- | --- |\n")
	eachCommand(t, func(n *kong.Node) {
		if n.Leaf() {
			fmt.Fprintf(&b, "| `%s` | %s |\n", n.FullPath(), n.Help)
		}
	})
	b.WriteString("\n")
	want := before + generatedBegin + b.String() + generatedEnd + after
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(manual), want); diff != "" {
		t.Errorf("%s does not have the commands that there are; -update writes them:\n%s", file, diff)
	}
}
