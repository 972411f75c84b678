package emulator

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Run describes the workflow run that the tokens speak of. Only Repository is
// required.
type Run struct {
	Repository  string         // owner/name
	Ref         string         // full: refs/heads/main. Empty: what Event usually runs on
	Event       string         // event_name; GitHub's own names and any other. Empty: push
	Environment string         // of the job; empty: the job has none, and the claim is absent
	Actor       string         // login of whoever started the run. Empty: octocat
	SubFormat   SubFormat      // form of sub. Empty: SubClassic
	Claims      map[string]any // override, add or (with Absent) leave out claims; see ParseClaim
}

// SubFormat is the form of the claim sub. GitHub sends all three, depending on a
// repository's age and its owner's settings, so a verifier must not depend on one.
type SubFormat string

// The forms of sub, each followed by the context: environment:E, pull_request or
// ref:R.
const (
	SubClassic   SubFormat = "classic"   // repo:OWNER/NAME
	SubImmutable SubFormat = "immutable" // repo:OWNER@OWNER_ID/NAME@ID, the default of repositories created since 2026-07-15
	SubCustom    SubFormat = "custom"    // repository_owner_id:OWNER_ID:repository_id:ID, one of many that an owner can choose
)

var (
	// GitHub's alphabet for accounts; the underscore occurs in managed users.
	ownerPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,38}$`)
	namePattern  = regexp.MustCompile(`^[A-Za-z0-9._-]{1,100}$`)
	eventPattern = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
)

// validate reports everything that is wrong with a run, one line for each field.
func (r *Run) validate() error {
	errs := []error{validRepository(r.Repository)}
	if r.Ref != "" {
		errs = append(errs, validRef(r.Ref))
	}
	if r.Event != "" && !eventPattern.MatchString(r.Event) {
		errs = append(errs, fmt.Errorf("event: %q is not an event name; they are lower-case with underscores, such as pull_request", r.Event))
	}
	if !printable(r.Environment) {
		errs = append(errs, fmt.Errorf("environment: %q has characters that cannot be printed", r.Environment))
	}
	if !printable(r.Actor) || strings.Contains(r.Actor, " ") {
		errs = append(errs, fmt.Errorf("actor: %q is not a login name", r.Actor))
	}
	switch r.SubFormat {
	case "", SubClassic, SubImmutable, SubCustom:
	default:
		errs = append(errs, fmt.Errorf("sub format: %q is unknown; use %s, %s or %s", r.SubFormat, SubClassic, SubImmutable, SubCustom))
	}
	return errors.Join(errs...)
}

func validRepository(s string) error {
	owner, name, _ := strings.Cut(s, "/")
	if !ownerPattern.MatchString(owner) || !namePattern.MatchString(name) || name == "." || name == ".." {
		return fmt.Errorf("repository: %q is not owner/name, such as acme/deploy", s)
	}
	return nil
}

// validRef keeps to what git-check-ref-format allows, so that nobody tests with
// a ref that no push can create. Claims can still say anything.
func validRef(s string) error {
	rest, ok := strings.CutPrefix(s, "refs/")
	if !ok {
		return fmt.Errorf("ref: %q is not a full ref; write refs/heads/%s for a branch or refs/tags/%s for a tag", s, s, s)
	}
	kind, name, _ := strings.Cut(rest, "/")
	if kind == "" || name == "" || strings.HasSuffix(name, "/") || strings.Contains(s, "//") ||
		strings.Contains(s, "..") || strings.ContainsAny(s, " ~^:?*[\\") || !printable(s) {
		return fmt.Errorf("ref: %q is not a ref that git allows", s)
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) })
}

func (r *Run) withDefaults() Run {
	d := *r
	d.Claims = maps.Clone(r.Claims)
	if d.Event == "" {
		d.Event = "push"
	}
	if d.Ref == "" {
		d.Ref = usualRef(d.Event)
	}
	if d.Actor == "" {
		d.Actor = "octocat"
	}
	if d.SubFormat == "" {
		d.SubFormat = SubClassic
	}
	return d
}

// usualRef is what runs of an event are for. pull_request_target and
// workflow_run are deliberately not special: GitHub gives them the base or
// default branch, which is why a branch alone says little about who caused a run.
func usualRef(event string) string {
	switch event {
	case "pull_request", "pull_request_review", "pull_request_review_comment":
		return "refs/pull/1/merge"
	case "merge_group":
		return "refs/heads/gh-readonly-queue/main/pr-1-" + digest("merge_group", "main")
	case "release":
		return "refs/tags/v1.0.0"
	}
	return "refs/heads/main"
}
