package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/policy"
)

func TestPoliciesAreReadFromFiles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, file string // the file is called f, or as the name ends: "what it is: f.json"
		want       string // where each policy is, and its branch; or, after "!", what is wrong
	}{
		{"one policy", "provider: github\nbranch: main\n", "f:1 main"},
		{"several documents, some of them empty", "# nothing\n---\nbranch: a\n---\n# nothing\n---\n\nbranch: b\n", "f:3 a, f:8 b"},
		{"a list", "policies:\n- branch: a\n- {branch: b}\n", "f:2 a, f:3 b"},
		{"JSON", "\n{\"branch\": \"main\"}\n", "f:2 main"},
		{"JSON with a list", "{\n \"policies\": [\n  {\"branch\":\n \"a\"},\n\n  {\"branch\": \"b\"}]}", "f:3 a, f:6 b"},
		{"an empty list", "policies: []\n", ""},
		{"only a comment", "# nothing yet\n", ""},
		{"nothing", "", ""},
		{"the place of the schema, for editors", "$schema: https://idp.example.com/s.json\nbranch: main\n", "f:1 main"},
		{"what a policy says that was read", `{"id": "01890000-0000-7000-8000-000000000000", "branch": "main", "revision": 7, "warnings": [], "matchCount": 0, "createdAt": "2026-11-21T12:00:00Z"}`, "f:1 main"},
		{"a typing error, in its line", "provider: github\n\nbrnch: main\n", "!f:3: brnch: there is no such member; did you mean branch?"},
		{"in a list", "policies:\n- branch: a\n- brnch: b\n", "!f:3: brnch: there is no such member; did you mean branch?"},
		{"in JSON", "{\"provider\": \"github\",\n \"brnch\": \"main\"}", "!f:2: brnch: there is no such member; did you mean branch?"},
		{"all of them", "maxAgents: ten\nexpiresAt: soon\n---\nevents: []\n", "!f:2: expiresAt: it must be an instant such as 2026-11-21T12:00:00Z\nf:1: maxAgents: it must be a whole number\nf:4: events: it is empty or zero, which would be taken for the default; leave it out, or give a value"},
		{"beside a list there is nothing", "policies: []\nprovider: github\n", "!f:2: provider: beside policies there is nothing else; put it into a policy"},
		{"a list that is none", "policies:\n  branch: a\n", "!f:2: policies: it must be a list"},
		{"text", "policies\n", "!f:1: it is no policy; a document is one policy, or has policies: and below it a list"},
		{"a list without a name", "- branch: a\n", "!f:1: it is no policy; a document is one policy, or has policies: and below it a list"},
		{"text in a list", "policies:\n- branch: a\n- hunter2\n", "!f:3: it is no policy; give one line a member, such as branch: main"},
		{"an alias", "branch: &b main\n---\nbranch: *b\n", "!f:3: aliases are not taken; write the value out"},
		{"an alias of nothing", "branch: *hunter2\n", "!f: yaml: an alias that names nothing"},
		{"a member twice", "branch: a\nbranch: b\n", "!f:2: branch is said twice"},
		{"half a JSON document", "{\"branch\":\n", "!f:2: it begins like JSON and is none: unexpected character or end of data"},
		{"a mapping of YAML that begins like JSON: f.yaml", "{branch: a}\n---\n{branch: b, # the next\n events: [push]}\n", "f.yaml:1 a, f.yaml:3 b"},
		{"the same without a name that says so", "{branch: main}\n", "f:1 main"},
		{"what is called JSON is that: f.json", "{branch: main}\n", "!f.json:1: it begins like JSON and is none: unexpected character or end of data"},
		{"half a mapping of YAML: f.yml", "{branch: main\n", "!f.yml: yaml: line 1: did not find expected ',' or '}'"},
		{"a member twice in a mapping: f.yaml", "{branch: a, branch: b}\n", "!f.yaml:1: branch is said twice"},
		{"JSON as YAML could not read it: f.yaml", "{\n\t\"branch\": \"\\ud83d\\ude00\"\n}\n", "f.yaml:1 \U0001f600"},
		{"an id that is none", "branch: main\nid: 7\n", "!f:2: id: it must be text; put it in quotes"},
		{"an id that is no UUID", "branch: main\nid: main\n", "!f:2: id: it is not an id; give the UUID in lower case, or leave it out"},
	} {
		f := policyFile{"f", []byte(tt.file)}
		if _, called, ok := strings.Cut(tt.name, ": "); ok {
			f.name = called
		}
		all, bad := f.policies()
		var found []string
		for _, d := range all {
			found = append(found, d.at("")+" "+d.Branch)
		}
		got := strings.Join(found, ", ")
		if len(bad) > 0 {
			var lines []string
			for _, err := range bad {
				lines = append(lines, err.Error())
			}
			got = "!" + strings.Join(lines, "\n")
		}
		if got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
}

func TestWhichFilesOfADirectoryAreRead(t *testing.T) {
	t.Parallel()
	outside, dir := t.TempDir(), t.TempDir()
	write := func(dir, name, text string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"b.yaml", "a/z.yml", "a/b/c.json", "README.md", ".git/x.yaml", ".x.yaml", "..data/m.yaml"} {
		write(dir, name, "branch: main\n")
	}
	write(outside, "o.yaml", "branch: outside\n")
	link := func(to, name string) func() {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		return func() { _ = os.Remove(filepath.Join(dir, name)) }
	}
	found := func(names ...string) string {
		files, err := findPolicyFiles(&IO{In: strings.NewReader("branch: main\n")}, names)
		if err != nil {
			return strings.ReplaceAll(err.Error(), dir, "D")
		}
		var all []string
		for _, f := range files {
			all = append(all, strings.TrimPrefix(f.name, dir+string(filepath.Separator)))
		}
		return strings.Join(all, " ")
	}
	link(filepath.Join("..data", "m.yaml"), "m.yaml") // as Kubernetes mounts a ConfigMap
	for _, tt := range []struct {
		name  string
		given []string
		setUp func() func()
		want  string
	}{
		{"all, in a fixed order", []string{dir}, nil, "a/b/c.json a/z.yml b.yaml m.yaml"},
		{"each once, in the order in which they are named", []string{filepath.Join(dir, "b.yaml"), dir + "/."}, nil, "b.yaml a/b/c.json a/z.yml m.yaml"},
		{"a file that is named, whatever it is called", []string{filepath.Join(dir, "README.md"), "-"}, nil, "README.md standard input"},
		{"a link to a file outside", []string{dir}, func() func() { return link(filepath.Join(outside, "o.yaml"), "o.yaml") }, "--file: D/o.yaml: it cannot be followed within D: statat o.yaml: path escapes from parent"},
		{"a link to a directory outside", []string{dir}, func() func() { return link(outside, "o") }, "--file: D/o: it cannot be followed within D: statat o: path escapes from parent"},
		{"a link to a directory inside", []string{dir}, func() func() { return link("a", "o") }, "--file: D/o: it is a link to a directory, which is not followed; name that with another -f"},
		{"a link to nothing", []string{dir}, func() func() { return link("nothing", "o.yaml") }, "--file: D/o.yaml: it cannot be followed within D: statat o.yaml: no such file or directory"},
		{"a file that is too large", []string{dir}, func() func() {
			write(dir, "large.yaml", strings.Repeat("#", maxPolicyFile+1))
			return func() { _ = os.Remove(filepath.Join(dir, "large.yaml")) }
		}, "--file: D/large.yaml: it is larger than 1024 KiB; divide it"},
		{"what is not there", []string{filepath.Join(dir, "nothing")}, nil, "--file: stat D/nothing: no such file or directory"},
	} {
		undo := func() {}
		if tt.setUp != nil {
			undo = tt.setUp()
		}
		if got := found(tt.given...); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, got, tt.want)
		}
		undo()
	}
}

// TestWhatIsExportedIsReadAgain: whatever a policy says, its file says, and says it to
// the command that reads it.
func TestWhatIsExportedIsReadAgain(t *testing.T) {
	t.Parallel()
	odd := rapid.SampledFrom([]string{"on", "~", "null", "74", "0x1f", "1e3", "2026-11-21", "2026-11-21T12:00:00Z", "- a", "a: b", "#", "a #b", "*", "&a", "!x", "%", "@", "`", "'", `"`, `\`, " ", " a ", "a\tb", "{a}", "[", "é", "\U0001f600", "\u2028", "<<", "=", ".inf", "true"})
	text := rapid.OneOf(odd, rapid.StringMatching(`[^\x00]{1,20}`))
	list := rapid.SliceOfNDistinct(text, 0, 3, rapid.ID)
	rapid.Check(t, func(t *rapid.T) {
		spec := agentidp.TrustPolicySpec{
			Provider: "github", Repository: text.Draw(t, "repository"), Branch: text.Draw(t, "branch"), RepositoryID: "74",
			Events: list.Draw(t, "events"), Audiences: list.Draw(t, "audiences"), Description: text.Draw(t, "description"), Condition: text.Draw(t, "condition"),
			MaxAgents: rapid.IntRange(0, 9).Draw(t, "maxAgents"), TrustRegisteredAgents: rapid.Bool().Draw(t, "trust"), Mode: agentidp.ModeEnforce,
		}
		if values := list.Draw(t, "values"); len(values) > 0 {
			spec.Claims = agentidp.ClaimConditions{text.Draw(t, "claim"): values}
		}
		if rapid.Bool().Draw(t, "expires") {
			at := time.Date(2126, 11, 21, 12, 0, 0, rapid.IntRange(0, 999_999).Draw(t, "microseconds")*1000, time.UTC)
			spec.ExpiresAt = &at
		}
		spec = policy.Normalize(spec, nil)
		p := &agentidp.TrustPolicy{ID: "x", TrustPolicySpec: spec, CreatedBy: "policy:x", Revision: 3}
		doc, err := (&exported{client: &client.Client{BaseURL: "https://idp.example.com"}}).document(t.Context(), []*agentidp.TrustPolicy{p, p})
		if err != nil {
			t.Fatal(err)
		}
		all, bad := (&policyFile{"f", doc}).policies()
		if len(bad) > 0 || len(all) != 2 {
			t.Fatalf("%d policies, %v, of\n%s", len(all), bad, doc)
		}
		if got := policy.Normalize(all[1].TrustPolicySpec, nil); !cmp.Equal(spec, got) {
			t.Fatalf("%s\nof\n%s", cmp.Diff(spec, got), doc)
		}
	})
}

// Whatever a repository is called, its file lies in the directory, and is not one that
// policy apply passes over.
func TestFilesOfAnExportStayInTheirDirectory(t *testing.T) {
	t.Parallel()
	for repository, want := range map[string]string{
		"Acme/Deploy": "github/acme/deploy.yaml", "acme/.github": "github/acme/_.github.yaml", "": "github.yaml",
		"../../etc/passwd": "github/_../_../etc/passwd.yaml", "/root": "github/_/root.yaml", "a/b\nc\\..": "github/a/b_c_...yaml",
	} {
		p := &agentidp.TrustPolicy{TrustPolicySpec: agentidp.TrustPolicySpec{Provider: "github", Repository: repository}}
		if got := exportName(p); got != want || !filepath.IsLocal(got) {
			t.Errorf("%q: %s, want %s", repository, got, want)
		}
	}
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	outside := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(outside, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := replaceFile(root, "a.yaml", []byte("provider: github\n")); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{outside: "precious", filepath.Join(dir, "a.yaml"): "provider: github\n"} {
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, []byte(want)) {
			t.Errorf("%s: %q, %v", file, got, err)
		}
	}
}
