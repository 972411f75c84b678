package emulator

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
)

const (
	lifetime = 300 * time.Second // exp − iat
	backdate = 300 * time.Second // iat − nbf
)

const (
	workflowName = "CI"
	workflowPath = ".github/workflows/ci.yml"
)

// claims returns the claims of a token issued now, in GitHub's types: all
// strings, ids and booleans too, but for the three times.
func (e *Emulator) claims(run *Run, audience string, overrides map[string]any) (map[string]any, error) {
	owner, _, _ := strings.Cut(run.Repository, "/")
	if audience == "" {
		audience = "https://github.com/" + owner
	}
	now := e.clock()
	sha := digest("commit", run.Repository, run.Ref)
	workflow := run.Repository + "/" + workflowPath + "@" + run.Ref
	started := e.started.Format(time.RFC3339Nano)

	c := map[string]any{
		"iss": e.issuer, "jti": agentidp.NewID(now),
		"iat": now.Unix(), "nbf": now.Add(-backdate).Unix(), "exp": now.Add(lifetime).Unix(),

		"repository": run.Repository, "repository_id": numericID("repository", run.Repository),
		"repository_owner": owner, "repository_owner_id": numericID("account", owner),
		"repository_visibility": "private",

		"ref": run.Ref, "ref_type": refType(run.Ref), "ref_protected": "false", "sha": sha,
		"base_ref": "", "head_ref": "",

		"event_name": run.Event, "actor": run.Actor, "actor_id": numericID("account", run.Actor),
		"workflow": workflowName, "workflow_ref": workflow, "workflow_sha": sha,
		"job_workflow_ref": workflow, "job_workflow_sha": sha,

		"run_id": numericID("run", run.Repository, started), "run_number": "1", "run_attempt": "1",
		"check_run_id": numericID("job", run.Repository, started), "runner_environment": "github-hosted",
	}
	if strings.HasPrefix(run.Event, "pull_request") {
		c["base_ref"], c["head_ref"] = "main", "patch-1"
	}
	if run.Environment != "" {
		c["environment"] = run.Environment
	}
	changes := map[string]any{"aud": audience}
	maps.Copy(changes, run.Claims)
	maps.Copy(changes, overrides)
	if err := override(c, changes); err != nil {
		return nil, err
	}
	// sub last, of the claims as they are now: an id that was set by hand belongs
	// into the immutable form too.
	if _, ok := changes["sub"]; !ok {
		c["sub"] = subject(run.SubFormat, c)
	}
	return c, nil
}

// refType knows branches and tags alone, as GitHub does: refs/pull/7/merge is a
// "branch".
func refType(ref string) string {
	if strings.HasPrefix(ref, "refs/tags/") {
		return "tag"
	}
	return "branch"
}

func subject(format SubFormat, c map[string]any) string {
	text := func(name string) string { s, _ := c[name].(string); return s }
	owner, name, _ := strings.Cut(text("repository"), "/")
	ownerID, id := text("repository_owner_id"), text("repository_id")

	prefix := "repo:" + owner + "/" + name
	switch format {
	case SubImmutable:
		prefix = "repo:" + owner + "@" + ownerID + "/" + name + "@" + id
	case SubCustom:
		prefix = "repository_owner_id:" + ownerID + ":repository_id:" + id
	}
	switch env := text("environment"); {
	case env != "":
		// A colon would let the name of an environment speak for a ref.
		return prefix + ":environment:" + strings.ReplaceAll(env, ":", "%3A")
	case text("event_name") == "pull_request":
		return prefix + ":pull_request"
	}
	return prefix + ":ref:" + text("ref")
}

// numericID derives an id from names without regard to case, as GitHub's names
// have none. Owners and actors are both accounts, so one login has one id.
func numericID(kind string, names ...string) string {
	sum := sum(kind, names...)
	return strconv.FormatUint(100_000_000+binary.BigEndian.Uint64(sum[:8])%900_000_000, 10)
}

// digest derives 40 hexadecimal digits, the shape of a git commit.
func digest(kind string, names ...string) string {
	sum := sum(kind, names...)
	return hex.EncodeToString(sum[:20])
}

func sum(kind string, names ...string) [sha256.Size]byte {
	return sha256.Sum256([]byte(kind + "\n" + strings.ToLower(strings.Join(names, "\n"))))
}
