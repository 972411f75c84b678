package policy

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/sentryagent/agentidp"
)

const (
	workflowsFolder   = ".github/workflows/"
	maxWorkflowLength = 512

	workflowRemedy = "Write .github/workflows/deploy.yml for a file of the repository itself, " +
		"or org/repo/.github/workflows/deploy.yml@refs/heads/main for a reusable workflow elsewhere."
)

// workflow is the file in which a job must stand, as the field of that name says it.
type workflow struct {
	repository string // of a reusable workflow, folded; "": the token's own
	file       string // its path
	ref        string // of a reusable workflow
}

// compileWorkflow splits the field at the first @: the path of no workflow that a policy
// can name has one (workflowProblem), while refs may.
func compileWorkflow(s string) workflow {
	path, ref, _ := strings.Cut(s, "@")
	if i := strings.Index(path, "/"+workflowsFolder); i > 0 {
		return workflow{repository: agentidp.FoldRepository(path[:i]), file: path[i+1:], ref: ref}
	}
	return workflow{file: s}
}

// workflowClaim is the claim that tells where the job stands. job_workflow_ref names a
// reusable workflow where the job is in one; only where a token has none does the workflow
// that was started answer for it.
func (c *Compiled) workflowClaim(r *request) agentidp.Claim {
	if c.workflow.repository == "" && r.Claims.JobWorkflowRef == "" {
		return agentidp.ClaimWorkflowRef
	}
	return agentidp.ClaimJobWorkflowRef
}

func (c *Compiled) gotWorkflow(r *request) string { return *r.Claims.Field(c.workflowClaim(r)) }

// permitsWorkflow compares owner/name/path@ref piece by piece, so that no piece can hold
// what belongs to another: after the path there is an @, and after that a ref. A
// path alone is a file of the repository that the token is for, whoever else has such a
// file.
func (c *Compiled) permitsWorkflow(r *request) bool {
	if c.Policy.Workflow == "" {
		return true
	}
	repository := c.workflow.repository
	if repository == "" {
		repository = r.repository
	}
	rest, ok := cutRepository(c.gotWorkflow(r), repository)
	if !ok {
		return false
	}
	ref, ok := strings.CutPrefix(rest, c.workflow.file)
	if !ok || ref == "" || ref[0] != '@' {
		return false
	}
	if c.workflow.repository != "" {
		return ref[1:] == c.workflow.ref
	}
	return isWholeRef(ref[1:])
}

// cutRepository returns what stands behind owner/name/ in s; repository is folded.
func cutRepository(s, repository string) (rest string, ok bool) {
	n := len(repository)
	if n == 0 || len(s) <= n || s[n] != '/' || agentidp.FoldRepository(s[:n]) != repository {
		return "", false
	}
	return s[n+1:], true
}

// isWholeRef reports whether s is a ref or a commit, as GitHub writes them.
func isWholeRef(s string) bool {
	rest, ok := strings.CutPrefix(s, "refs/")
	return ok && rest != "" || isCommit(s)
}

// isCommit reports whether s is a whole id of a commit, SHA-1 or SHA-256.
func isCommit(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

// foldWorkflow is a workflow under the spelling by which two are the same.
func foldWorkflow(s string) string {
	if i := strings.Index(s, "/"+workflowsFolder); i > 0 {
		return agentidp.FoldRepository(s[:i]) + s[i:]
	}
	return s
}

// workflowProblem says what is wrong with a workflow, or "". What it lets through is a
// path of this repository, or a reusable workflow at one ref.
func workflowProblem(s string) string {
	if problem := textProblem(s, maxWorkflowLength); problem != "" {
		return problem
	}
	path, ref, hasRef := strings.Cut(s, "@")
	local, here := strings.CutPrefix(path, "./")
	repository, file, elsewhere := strings.Cut(path, "/"+workflowsFolder)
	switch {
	case strings.Contains(s, "://"):
		return "is the file's path, not its address. " + workflowRemedy
	case strings.ContainsAny(s, "*?["):
		return "wildcards are not supported: a workflow is compared exactly, character by character. Make one policy for each, or name a pattern in claims, as job_workflow_ref."
	case here || strings.HasPrefix(s, "/"):
		return said(s) + "is not the file's path. Write " + workflowsFolder + pathEnd(local) + ", from the top of the repository and without ./ or / in front."
	case strings.HasPrefix(path, workflowsFolder) && hasRef:
		return "a file of the repository itself is meant at any ref. Leave out the @ and what follows, and use branch or tag; a reusable workflow elsewhere has its repository in front, for example org/repo/" + workflowsFolder + "deploy.yml@refs/heads/main."
	case strings.HasPrefix(path, workflowsFolder):
		return fileProblem(s, path[len(workflowsFolder):])
	case !elsewhere:
		return said(s) + "is not the path of a workflow: those are in " + workflowsFolder + ". " + workflowRemedy
	}
	if problem := RepositoryProblem(repository); problem != "" {
		return "the repository in front of /" + workflowsFolder + ": " + problem
	}
	if problem := fileProblem(s, file); problem != "" {
		return problem
	}
	return pinnedRefProblem(path, ref, hasRef)
}

// pathEnd is the name of a file for a remedy.
func pathEnd(path string) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	if fileProblem(name, name) != "" || said(name) == "" {
		return "deploy.yml"
	}
	return name
}

// fileProblem is for what follows .github/workflows/. Files in folders below are none that
// GitHub runs.
func fileProblem(s, file string) string {
	stem, ok := strings.CutSuffix(file, ".yml")
	if !ok {
		stem, ok = strings.CutSuffix(file, ".yaml")
	}
	if !ok || stem == "" || strings.Contains(file, "/") {
		return said(s) + "is not a workflow: its file is directly in " + workflowsFolder + " and ends in .yml or .yaml. " + workflowRemedy
	}
	return ""
}

// pinnedRefProblem is for the ref of a reusable workflow. A token has the whole one, also
// where the caller wrote a short one.
func pinnedRefProblem(path, ref string, given bool) string {
	for _, prefix := range []string{branchPrefix, tagPrefix} {
		short, ok := strings.CutPrefix(ref, prefix)
		if !ok {
			continue
		}
		if short == "" || refProblem(short) != "" {
			return "the ref behind the @ is not one that git allows. Write it as git show-ref shows it, for example refs/heads/main."
		}
		return ""
	}
	switch {
	case isCommit(ref):
		return ""
	case !given || ref == "":
		return fmt.Sprintf("must say at which ref the reusable workflow is trusted: whoever may push there decides what it does. Write for example %s@refs/heads/main, with a protected branch, or a commit's id.", path)
	}
	return "the ref behind the @ must be the whole one, as tokens have it: refs/heads/…, refs/tags/… or a commit's id of 40 or 64 digits, in lower case."
}

func environmentProblem(s string) string {
	if strings.ContainsAny(s, "*?[") {
		return "wildcards are not supported: an environment is compared exactly, character by character. Make one policy for each, or name several in claims, as environment."
	}
	if utf8.RuneCountInString(s) > maxEnvironmentLength {
		return fmt.Sprintf("is longer than %d characters.", maxEnvironmentLength)
	}
	return textProblem(s, utf8.UTFMax*maxEnvironmentLength)
}

// traceWorkflow is trace for the workflow, whose claim depends on the token.
func traceWorkflow(checks []agentidp.Check, c *Compiled, r *request) []agentidp.Check {
	if c.Policy.Workflow == "" {
		return checks
	}
	got := c.gotWorkflow(r)
	return append(checks, agentidp.Check{
		PolicyID: c.Policy.ID, Check: checkWorkflow, Claim: string(c.workflowClaim(r)),
		Expected: clip(c.Policy.Workflow, maxShown), Got: clip(got, maxShown), OK: c.permitsWorkflow(r),
	})
}
