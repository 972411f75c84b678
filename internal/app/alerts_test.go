package app

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const rulesFile = "../../deploy/prometheus/agentidp.rules.yml"

// ruleFile is what Prometheus reads, as far as ours says anything.
type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []struct {
			Alert       string
			Expr        string
			For         string
			Labels      struct{ Severity string }
			Annotations struct{ Summary, Description string }
		}
	}
}

var (
	selector   = regexp.MustCompile(`\b((?:agentidp|process|go)_[a-z_]+)(?:\{([^}]*)\})?`)
	matcher    = regexp.MustCompile(`^([a-z_]+)(=|!=)"([^"]*)"$`)
	grouping   = regexp.MustCompile(`\bby \(([a-z, ]+)\)`)
	placeholds = regexp.MustCompile(`\{\{ \$labels\.([a-z_]+) `)
	document   = regexp.MustCompile(`https://github\.com/sentryagent/agentidp/blob/main/(docs/[a-z]+\.md)(?:#([a-z0-9-]+))?$`)
	sentence   = regexp.MustCompile(`^["A-Z{][^\n]+\.$`)
	duration   = regexp.MustCompile(`^(|[1-9][0-9]*[mh])$`)
)

// exposition is what a server exposes: for each name the values of each label.
func (w *world) exposition() map[string]map[string][]string {
	w.t.Helper()
	label := regexp.MustCompile(`([a-z_]+)="((?:[^"\\]|\\.)*)"`)
	names := map[string]map[string][]string{}
	for line := range strings.Lines(string(w.want(w.look("GET", "/metrics"), 200).Raw)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		end := strings.IndexAny(line, "{ ")
		name := line[:end]
		if names[name] == nil {
			names[name] = map[string][]string{}
		}
		if line[end] == '{' {
			for _, l := range label.FindAllStringSubmatch(line[end:strings.LastIndexByte(line, '}')], -1) {
				names[name][l[1]] = append(names[name][l[1]], l[2])
			}
		}
	}
	return names
}

// An alert on a metric that is not there never fires, and nobody notices.
func TestEveryAlertNamesWhatTheServerExposes(t *testing.T) {
	t.Parallel()
	source, err := os.Open(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	var rules ruleFile
	decoder := yaml.NewDecoder(source)
	decoder.KnownFields(true)
	if err := decoder.Decode(&rules); err != nil {
		t.Fatal(err)
	}
	there := aDay(t).exposition()
	seen := map[string]bool{}
	for _, r := range rules.Groups[0].Rules {
		if seen[r.Alert] || !strings.HasPrefix(r.Alert, "AgentIdP") {
			t.Errorf("%q is no name, or another's too", r.Alert)
		}
		seen[r.Alert] = true
		if r.Labels.Severity != "critical" && r.Labels.Severity != "warning" || !duration.MatchString(r.For) {
			t.Errorf("%s: severity %q, for %q", r.Alert, r.Labels.Severity, r.For)
		}
		for _, problem := range wrongInExpression(there, r.Expr) {
			t.Errorf("%s: %s", r.Alert, problem)
		}
		if !sentence.MatchString(r.Annotations.Summary) {
			t.Errorf("%s: its summary is no sentence: %q", r.Alert, r.Annotations.Summary)
		}
		kept := keptLabels(there, r.Expr)
		for _, p := range placeholds.FindAllStringSubmatch(r.Annotations.Summary, -1) {
			if !slices.Contains(kept, p[1]) {
				t.Errorf("%s: its summary shows the label %s, and the expression leaves %v", r.Alert, p[1], kept)
			}
		}
		checkDescription(t, r.Alert, r.Annotations.Description)
	}
	for _, must := range []string{"AgentIdPRepositoryIdentityChanged", "AgentIdPTokenReplayed", "AgentIdPNotReady", "AgentIdPIssuerKeysNotRenewed"} {
		if !seen[must] {
			t.Errorf("there is no alert %s", must)
		}
	}

	// What this test is for.
	for _, wrong := range []string{
		`increase(agentidp_nothing_total[5m]) > 0`, `agentidp_ready{node="x"} == 0`, `agentidp_events_total{type="token_replaid"} > 0`,
		`sum by (repository) (agentidp_exchanges_total)`, `agentidp_exchanges_total{outcome=~"denied"}`, `vector(1)`,
	} {
		if len(wrongInExpression(there, wrong)) == 0 {
			t.Errorf("nothing is found wrong with %s", wrong)
		}
	}
}

// wrongInExpression returns what of an expression no server exposes.
func wrongInExpression(there map[string]map[string][]string, expr string) (problems []string) {
	selectors := selector.FindAllStringSubmatch(expr, -1)
	if len(selectors) == 0 {
		return []string{"it names no metric"}
	}
	for _, s := range selectors {
		labels, exists := there[s[1]]
		if !exists {
			problems = append(problems, "there is no metric "+s[1])
			continue
		}
		for part := range strings.SplitSeq(s[2], ",") {
			m := matcher.FindStringSubmatch(strings.TrimSpace(part))
			switch {
			case part == "":
			case m == nil:
				problems = append(problems, "cannot read the matcher "+part)
			case !slices.Contains(labels[m[1]], m[3]):
				problems = append(problems, s[1]+" has no "+m[1]+" "+m[3])
			}
		}
	}
	for _, label := range groupedBy(expr) {
		for _, s := range selectors {
			if label != "instance" && there[s[1]][label] == nil { // Prometheus adds instance
				problems = append(problems, s[1]+" has no label "+label)
			}
		}
	}
	return problems
}

func groupedBy(expr string) (labels []string) {
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(g[1], ",") {
			labels = append(labels, strings.TrimSpace(label))
		}
	}
	return labels
}

// keptLabels are the labels that an alert has.
func keptLabels(there map[string]map[string][]string, expr string) []string {
	kept := groupedBy(expr)
	if kept == nil && !strings.HasPrefix(expr, "absent") {
		kept = []string{"instance"}
		for label := range there[selector.FindStringSubmatch(expr)[1]] {
			kept = append(kept, label)
		}
	}
	return kept
}

// checkDescription asserts that it says what to do, and ends with a section that
// there is.
func checkDescription(t *testing.T, alert, text string) {
	t.Helper()
	link := document.FindStringSubmatch(text)
	if link == nil || len(text) < 120 {
		t.Errorf("%s: its description says little, or ends with no link to a document: %q", alert, text)
		return
	}
	doc, err := os.ReadFile(filepath.Join("../..", link[1]))
	if err != nil {
		t.Errorf("%s: %v", alert, err)
	}
	var anchors []string
	for line := range strings.Lines(string(doc)) {
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			anchors = append(anchors, anchor(title))
		}
	}
	if link[2] != "" && !slices.Contains(anchors, link[2]) {
		t.Errorf("%s: %s has no section %s", alert, link[1], link[2])
	}
}

// anchor is how GitHub names a heading.
func anchor(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-':
			return r
		}
		return -1
	}, strings.ToLower(strings.TrimSpace(title)))
}

var documented = regexp.MustCompile("(?m)^\\| `(agentidp_[a-z_]+)` \\| (counter|gauge|histogram) \\|([^|]*)\\| [A-Za-z1].*\\|$")

// TestEveryMetricIsDocumented holds the table of docs/operating.md against what a
// server exposes, both ways.
func TestEveryMetricIsDocumented(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	families, err := aDay(t).app.metrics.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, row := range documented.FindAllStringSubmatch(string(doc), -1) {
		rows[row[1]] = strings.Join(strings.Fields(row[2]+strings.NewReplacer("`", "", ",", "").Replace(row[3])), " ")
	}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "agentidp_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		want := strings.TrimSpace(strings.ToLower(f.GetType().String()) + " " + strings.Join(labels, " "))
		if got := rows[f.GetName()]; got != want {
			t.Errorf("%s is documented as %q, and is %q", f.GetName(), got, want)
		}
		if help := f.GetHelp(); !strings.HasSuffix(help, ".") || strings.ToUpper(help[:1]) != help[:1] {
			t.Errorf("%s: its help is no sentence: %q", f.GetName(), help)
		}
		delete(rows, f.GetName())
	}
	for name := range rows {
		t.Errorf("%s is documented, and no server exposes it", name)
	}
}
