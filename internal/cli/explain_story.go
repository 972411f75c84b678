package cli

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
)

// writeSections prints sections, those that have lines. One without a name stands at the
// margin.
func writeSections(out io.Writer, sections []section) error {
	var lines []string
	for _, s := range sections {
		switch {
		case len(s.lines) == 0:
		case s.name == "":
			lines = append(lines, s.lines...)
		default:
			lines = append(append(lines, "", s.name), indented(s.lines)...)
		}
	}
	_, err := io.WriteString(out, strings.Join(lines, "\n")+"\n")
	return err
}

// Headings of what is told. The remedy is nil where there is none.
const (
	tellsChecks  = "What was compared:"
	tellsNearest = "What comes the nearest:"
	tellsRemedy  = "What would let it in:"
	tellsShadow  = "What policies in shadow mode would have done:"
)

// decisionStory tells why a decision was made: the verdict, what came, and what was held
// against it.
func decisionStory(d *agentidp.Decision, remedy []string) []section {
	verdict := "Granted by policy " + d.PolicyID + "."
	switch {
	case d.Outcome == agentidp.OutcomeDenied:
		verdict = "Refused: " + d.Code + because(d.Reason) + "."
	case d.PolicyID == "":
		verdict = "Granted."
	}
	asked := cmp.Or(d.AgentID, "bootstrap")
	if d.Provider == "" {
		asked = d.AgentID
	}
	came := facts([][2]string{
		{"at", instant(d.At)}, {"provider", d.Provider}, {"repository", withIDs(d)}, {"subject", d.Subject}, {"ref", d.Ref}, {"event", d.Event}, {"run", d.RunID},
		{"credential", d.CredentialID}, {"actor", d.ActorID}, {"token for", asked},
	})
	return []section{
		{"", []string{printable(verdict)}},
		{"What came:", came},
		{tellsChecks, checksOf(d)},
		{tellsNearest, missLines(d.Nearest)},
		{tellsRemedy, remedy},
		{tellsShadow, shadowLines(d.Shadow)},
	}
}

// explanationStory tells how an exchange would be decided.
func explanationStory(e *agentidp.Explanation, remedy []string) []section {
	verdict := []string{printable("It would be granted by policy " + e.PolicyID + ".")}
	if !e.Allowed {
		verdict = []string{printable("It would be refused: " + e.Code + because(e.Reason) + "."), "", "What the caller would be told:", "  " + printable(e.Message)}
	}
	got := facts([][2]string{{"scope", e.Scope}, {"audience", e.Audience}, {"life", lifeOf(e.Seconds)}})
	as := &agentidp.Decision{Outcome: agentidp.OutcomeDenied, Provider: e.Provider, Code: e.Code, Checks: e.Checks, Nearest: e.Nearest}
	if e.Allowed {
		as.Outcome = agentidp.OutcomeAllowed
	}
	var hint []string
	if e.Hint != "" {
		hint = []string{printable(e.Hint)}
	}
	return []section{
		{"", verdict},
		{"The token:", got},
		{"Besides:", hint},
		{tellsChecks, checksOf(as)},
		{tellsNearest, missLines(e.Nearest)},
		{tellsRemedy, remedy},
		{tellsShadow, shadowLines(e.Shadow)},
	}
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

func withIDs(d *agentidp.Decision) string {
	if d.Repository == "" {
		return ""
	}
	return fmt.Sprintf("%s (id %s, owner %s)", d.Repository, cmp.Or(d.RepositoryID, "absent"), cmp.Or(d.RepositoryOwnerID, "absent"))
}

func lifeOf(seconds int64) string {
	if seconds == 0 {
		return ""
	}
	return (time.Duration(seconds) * time.Second).String()
}

// facts are named values in one column, without those that are empty.
func facts(all [][2]string) []string {
	width := 0
	for _, f := range all {
		if f[1] != "" {
			width = max(width, len(f[0]))
		}
	}
	var lines []string
	for _, f := range all {
		if f[1] != "" {
			lines = append(lines, fmt.Sprintf("%-*s %s", width+1, f[0]+":", printable(f[1])))
		}
	}
	return lines
}

// missLines tell which policy came the nearest, and what a change of it lets in.
func missLines(m *agentidp.Miss) []string {
	if m == nil {
		return nil
	}
	var lines []string
	if m.PolicyID != "" {
		lines = append(lines, printable("policy "+m.PolicyID+", which fails "+strings.Join(m.Failed, ", ")))
	}
	if m.Hint != "" {
		lines = append(lines, printable(m.Hint))
	}
	return lines
}

func shadowLines(all []agentidp.Shadow) []string {
	lines := make([]string, len(all))
	for i, s := range all {
		lines[i] = printable("policy " + s.PolicyID + " would have refused it: " + s.Code)
		if s.Allowed {
			lines[i] = printable("policy " + s.PolicyID + " would have granted it")
		}
	}
	return lines
}
