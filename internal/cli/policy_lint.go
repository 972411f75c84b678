package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/providers"
)

type policyLintCmd struct {
	File      []string          `short:"f" required:"" sep:"none" placeholder:"PATH" help:"A file of policies, or a directory, with all that is in it, or - for standard input. Repeatable."`
	Server    string            `placeholder:"URL" help:"Ask this server, which knows its providers and agents (default: none is asked, whatever AGENTIDP_SERVER says)."`
	Kind      map[string]string `placeholder:"NAME=KIND" help:"Without a server: of which kind a provider is, such as ghes=github. Repeatable (default: github is; another is of kind github where a repository is named, else oidc)."`
	FailUnder string            `enum:",A,B,C,D,F" default:"" placeholder:"GRADE" help:"Fail where a policy is weaker than this grade, A to F, or has none."`
	Output    string            `short:"o" enum:"text,json" default:"text" help:"text, or json, one object a line."`
}

// Help is shown by policy lint --help.
func (*policyLintCmd) Help() string {
	return `For each policy: where it stands, its grade, from A, the strictest, to F, who can get the
weakest token that it accepts, what is wrong with it and what is weak. Nothing is changed,
and without --server nobody is asked. With it, AGENTIDP_TOKEN holds an access token with
policies:read.

Exit codes: 1, a policy is weaker than --fail-under; 2, something is wrong with a policy.

Examples:
  agentidp policy lint -f policies/ --fail-under C
  agentidp policy lint -f policies/ --kind ghes=github -o json
  agentidp policy lint -f policies/deploy.yaml --server https://idp.example.com`
}

// finding is what lint says of one policy.
type finding struct {
	File        string `json:"file"`
	Line        int    `json:"line"`
	Provider    string `json:"provider"`
	Repository  string `json:"repository,omitempty"`
	AgentID     string `json:"agentId,omitempty"`
	AssumedKind string `json:"assumedKind,omitempty"`
	agentidp.PolicyAssessment
	Errors []problemAt `json:"errors"`

	declared *declared
}

// problemAt is an error with its line.
type problemAt struct {
	Line int `json:"line"`
	agentidp.FieldError
}

func newFinding(d *declared) *finding {
	return &finding{
		File: d.file, Line: d.node.Line, Provider: d.Provider, Repository: d.Repository, AgentID: d.AgentID,
		PolicyAssessment: agentidp.PolicyAssessment{Warnings: []agentidp.Warning{}}, Errors: []problemAt{}, declared: d,
	}
}

// lintCount is what lint has found so far.
type lintCount struct {
	all, wrong, weak int
	grades           map[string]int
	good             []change // with their effective forms alone
}

// Run judges each policy, also where another could not be read.
func (c *policyLintCmd) Run(ctx context.Context, std *IO) error {
	judge, err := c.judge(ctx)
	if err != nil {
		return err
	}
	declared, unread := readPolicies(std, c.File)
	n := &lintCount{all: len(declared), grades: map[string]int{}}
	for _, d := range declared {
		f := newFinding(d)
		spec, err := judge(f)
		if err != nil {
			return err
		}
		if err := c.print(std, f); err != nil {
			return err
		}
		if len(f.Errors) > 0 {
			n.wrong++
			continue
		}
		n.good = append(n.good, change{want: d, draft: &agentidp.PolicyDraft{TrustPolicySpec: *spec}})
		n.grades[cmp.Or(string(f.Grade), "none")]++
		if c.FailUnder != "" && (f.Grade == "" || string(f.Grade) > c.FailUnder) {
			n.weak++
		}
	}
	if c.Output == "text" {
		n.print(std.Out)
	}
	errs := []error{unread, checkTwice(n.good)}
	if n.wrong > 0 {
		errs = append(errs, usageError{fmt.Errorf("wrong policies: %d of %d", n.wrong, n.all)})
	}
	if n.weak > 0 {
		errs = append(errs, fmt.Errorf("policies weaker than %s: %d of %d", c.FailUnder, n.weak, n.all))
	}
	return errors.Join(errs...)
}

func (n *lintCount) print(out io.Writer) {
	text := fmt.Sprintf("Policies: %d", n.all)
	for _, grade := range slices.Sorted(maps.Keys(n.grades)) {
		text += fmt.Sprintf(", grade %s: %d", grade, n.grades[grade])
	}
	fmt.Fprintln(out, text+".")
}

// judge returns what fills in a finding, and returns the policy's effective form: by a
// server, or by what this program knows.
func (c *policyLintCmd) judge(ctx context.Context) (func(*finding) (*agentidp.TrustPolicySpec, error), error) {
	if c.Server != "" {
		cl, err := (&Managing{Server: c.Server}).client()
		return func(f *finding) (*agentidp.TrustPolicySpec, error) { return f.online(ctx, cl) }, err
	}
	kinds, err := providers.Kinds()
	if err != nil {
		return nil, err
	}
	for name, kind := range c.Kind {
		if kinds[kind] == nil {
			return nil, usageError{fmt.Errorf("--kind: %s: %q is none of %s", name, kind, strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))}
		}
	}
	now := time.Now()
	return func(f *finding) (*agentidp.TrustPolicySpec, error) { return f.offline(c.kindOf(f, kinds), now), nil }, nil
}

// builtInProvider is there in every organization, and of the kind of its name.
const builtInProvider = "github"

// kindOf is the kind of a policy's provider, as far as anybody knows it here.
func (c *policyLintCmd) kindOf(f *finding, kinds map[string]*agentidp.ProviderKind) *agentidp.ProviderKind {
	if kind := c.Kind[f.Provider]; kind != "" {
		return kinds[kind]
	}
	if f.Provider == builtInProvider {
		return kinds[builtInProvider]
	}
	kind := "oidc"
	if f.Repository != "" {
		kind = "github"
	}
	if f.Provider != "" { // else there is nothing to assume of it
		f.AssumedKind = kind
	}
	return kinds[kind]
}

func (f *finding) wrong(bad ...agentidp.FieldError) {
	for _, e := range bad {
		f.Errors = append(f.Errors, problemAt{lineOf(f.declared.node, e.Field), e})
	}
}

func (f *finding) offline(kind *agentidp.ProviderKind, now time.Time) *agentidp.TrustPolicySpec {
	spec := f.declared.TrustPolicySpec
	f.wrong(policy.Validate(&spec, kind, now)...)
	spec = policy.Normalize(spec, kind)
	if len(f.Errors) == 0 {
		f.PolicyAssessment = policy.Assess(&agentidp.TrustPolicy{TrustPolicySpec: spec, CreatedAt: now}, kind, now)
	}
	return &spec
}

func (f *finding) online(ctx context.Context, cl *client.Client) (*agentidp.TrustPolicySpec, error) {
	draft, err := cl.LintTrustPolicy(ctx, f.declared.TrustPolicySpec)
	if e, ok := policyFault(err); ok {
		f.wrong(e.Details...)
		if len(e.Details) == 0 {
			f.wrong(agentidp.FieldError{Field: "policy", Reason: e.Message})
		}
		return nil, nil //nolint:nilnil // what is wrong with it is in the finding
	}
	if err != nil {
		return nil, err
	}
	f.PolicyAssessment = draft.PolicyAssessment
	return &draft.TrustPolicySpec, nil
}

// print says in a line each, as compilers do, what there is to say of a policy.
func (c *policyLintCmd) print(std *IO, f *finding) error {
	if c.Output == "json" {
		return writeJSON(std.Out, f)
	}
	here := f.declared.at("")
	grade, who := gradeOf(&f.PolicyAssessment)
	if len(f.Errors) > 0 {
		grade = "wrong"
	}
	say(std.Out, "%s: %s: %s%s", here, grade, specName(&f.declared.TrustPolicySpec), who)
	if f.AssumedKind != "" {
		say(std.Out, "%s: note: provider %s is taken for one of kind %s; --kind %s=KIND says another", here, f.Provider, f.AssumedKind, f.Provider)
	}
	for _, e := range f.Errors {
		say(std.Out, "%s:%d: error: %s: %s", f.File, e.Line, e.Field, e.Reason)
	}
	for _, w := range f.Warnings {
		say(std.Out, "%s: warning: %s: %s", here, w.Code, w.Message)
	}
	return nil
}
