package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/policy"
)

type policyApplyCmd struct {
	Managing `embed:""`

	File       []string `short:"f" required:"" sep:"none" placeholder:"PATH" help:"A file of policies, or a directory, with all that is in it, or - for standard input. Repeatable."`
	DryRun     bool     `help:"Print the plan, and change nothing."`
	ExitCode   bool     `help:"With --dry-run: end with exit code 4 if there is anything to change."`
	Prune      bool     `help:"Delete policies that are in no file."`
	Provider   string   `placeholder:"NAME" help:"With --prune: of policies that name this provider alone."`
	Repository string   `placeholder:"OWNER/NAME" help:"With --prune: of policies that name this repository alone, in any case."`
}

// Help is shown by policy apply --help.
func (*policyApplyCmd) Help() string {
	return `Makes the trust policies what files say: YAML or JSON, one policy a document or a list
under policies:, with the members of the API. All of them are checked, then the plan is
printed, then it is done: what is new is created, what differs is updated, and with
--prune what is in no file is deleted; policies that a registration created are not.
A file's policy is taken for the one of the same provider, repository and agent that is
most like it. If something fails, what was done stays; run it again to go on.
AGENTIDP_TOKEN holds the access token: policies:read and policies:write, and whatever the
policies give.

Examples:
  agentidp policy apply -f policies/ --dry-run
  agentidp policy apply -f policies/ --prune --provider github`
}

// pendingError is that there is something to change, and says nothing.
type pendingError struct{}

func (pendingError) Error() string { return "there are changes to make" }

// Run reads, checks, plans, prints, and does what was printed.
func (c *policyApplyCmd) Run(ctx context.Context, std *IO) error {
	if err := c.check(); err != nil {
		return err
	}
	want, err := readPolicies(std, c.File)
	if err != nil {
		return err
	}
	if c.Prune && len(want) == 0 {
		return usageError{errors.New("--prune: the files hold no policy, and all that there are would be deleted; agentidp policy delete deletes one by one")}
	}
	cl, err := c.client()
	if err != nil {
		return err
	}
	p, err := c.plan(ctx, std, cl, want)
	if err != nil {
		return err
	}
	p.print(std.Out, c.Prune)
	switch pending := len(p.changes()); {
	case pending == 0:
		return nil
	case c.DryRun && c.ExitCode:
		return pendingError{}
	case c.DryRun:
		return nil
	}
	return p.apply(ctx, std, cl)
}

func (c *policyApplyCmd) check() error {
	switch {
	case c.ExitCode && !c.DryRun:
		return usageError{errors.New("--exit-code is for --dry-run: what was applied is not pending")}
	case !c.Prune && (c.Provider != "" || c.Repository != ""):
		return usageError{errors.New("--provider and --repository say what --prune may delete; give it, or leave them out")}
	}
	return nil
}

// mayPrune reports whether a policy may be deleted because it is in no file. What a
// registration created belongs to that.
func (c *policyApplyCmd) mayPrune(p *agentidp.TrustPolicy) bool {
	return c.Prune && !byRegistration(p) && (c.Provider == "" || c.Provider == p.Provider) &&
		(c.Repository == "" || agentidp.FoldRepository(c.Repository) == agentidp.FoldRepository(p.Repository))
}

func byRegistration(p *agentidp.TrustPolicy) bool { return strings.HasPrefix(p.CreatedBy, "policy:") }

// plan reads what there is, and asks the server what each of the wanted policies would
// be there: with its own defaults, and as strong as it finds them. What a file says just
// as the server does needs no question.
func (c *policyApplyCmd) plan(ctx context.Context, std *IO, cl *client.Client, want []*declared) (*plan, error) {
	var have []*agentidp.TrustPolicy
	known := map[string]*agentidp.TrustPolicy{}
	for p, err := range cl.AllTrustPolicies(ctx, agentidp.PolicyFilter{}) {
		if err != nil {
			return nil, err
		}
		have = append(have, p)
		known[policy.Fingerprint(&p.TrustPolicySpec)] = p
	}
	steps := make([]change, len(want))
	var errs []error
	count := newCounter(std, true)
	defer count.done()
	for i, d := range want {
		count.add()
		steps[i].want = d
		normal := policy.Normalize(d.TrustPolicySpec, nil)
		if p := known[policy.Fingerprint(&normal)]; p != nil && len(differences(&p.TrustPolicySpec, &normal)) == 0 {
			steps[i].draft = &agentidp.PolicyDraft{TrustPolicySpec: p.TrustPolicySpec, PolicyAssessment: p.PolicyAssessment}
			continue
		}
		draft, err := cl.LintTrustPolicy(ctx, d.TrustPolicySpec)
		if bad := d.refused(err); bad != nil {
			errs = append(errs, bad...)
			continue
		}
		if err != nil {
			return nil, err
		}
		steps[i].draft = draft
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if err := checkTwice(steps); err != nil {
		return nil, err
	}
	return newPlan(steps, have, c.mayPrune)
}

// fileRefusal is what a server has against a policy, told with its place in the files.
type fileRefusal struct {
	text  string
	cause error
}

func (e fileRefusal) Error() string { return e.text }

func (e fileRefusal) Unwrap() error { return e.cause }

// policyFault returns a server's refusal of a policy for what it says, and not for who
// asks or how often.
func policyFault(err error) (*client.Error, bool) {
	e, ok := errors.AsType[*client.Error](err)
	return e, ok && e.Code != "" && (e.Status == http.StatusBadRequest || e.Status == http.StatusConflict)
}

// refused returns what a server has against this policy, one error for every bad
// member; nil where it is no fault of the policy's.
func (d *declared) refused(err error) []error {
	e, ok := policyFault(err)
	if !ok {
		return nil
	}
	if len(e.Details) == 0 {
		return []error{fileRefusal{d.at("") + ": " + reason(e), err}}
	}
	errs := make([]error, len(e.Details))
	for i, bad := range e.Details {
		errs[i] = fileRefusal{d.problem(bad.Field, bad.Reason).Error(), err}
	}
	return errs
}

// apply does what was printed, in its order, and stops where something fails.
func (p *plan) apply(ctx context.Context, std *IO, cl *client.Client) error {
	all := p.changes()
	for i := range all {
		done, err := all[i].apply(ctx, cl)
		if err != nil {
			errs := []error{fmt.Errorf("%s: %w", all[i].name(), err)}
			for _, c := range all[i+1:] {
				errs = append(errs, errors.New("not done: "+c.verb()+" "+c.name()))
			}
			return errors.Join(append(errs, fmt.Errorf("changes made: %d of %d; run it again to go on", i, len(all)))...)
		}
		fmt.Fprintln(std.Out, printable(done))
	}
	fmt.Fprintf(std.Out, "Applied: %d created, %d updated, %d deleted.\n", len(p.create), len(p.update), len(p.remove))
	return nil
}

// verb is what a change does.
func (c *change) verb() string {
	switch {
	case c.have == nil:
		return "create"
	case c.want == nil:
		return "delete"
	}
	return "update"
}

// apply makes one change and says what became of it.
func (c *change) apply(ctx context.Context, cl *client.Client) (string, error) {
	switch {
	case c.have == nil:
		created, err := cl.CreateTrustPolicy(ctx, c.want.TrustPolicySpec)
		if err != nil {
			return "", err
		}
		return "created " + created.ID + "  " + c.name(), nil
	case c.want == nil:
		err := cl.DeleteTrustPolicy(ctx, c.have.ID, client.DeleteOptions{Revision: c.have.Revision})
		if e, ok := errors.AsType[*client.Error](err); ok && e.Code == agentidp.CodeNotFound {
			err = nil // somebody was faster
		}
		return "deleted " + c.have.ID, err
	}
	_, err := cl.ChangeTrustPolicy(ctx, c.have.ID, func(spec *agentidp.TrustPolicySpec) error {
		if !reflect.DeepEqual(spelled(*spec), spelled(c.have.TrustPolicySpec)) {
			return errors.New("somebody changed it since the plan was made")
		}
		*spec = c.want.TrustPolicySpec
		return nil
	})
	return "updated " + c.have.ID, err
}
