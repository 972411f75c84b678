package audit_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/audit"
	"github.com/sentryagent/agentidp/internal/store"
)

// anID is the one spelling of an id.
var anID = regexp.MustCompile(`\A[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\z`)

var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// FuzzPages reads the audit log and the decisions from any cursor, by any filter. What is
// no cursor or value is the caller's fault, and never the storage's; what is read is the
// caller's organization's, behind the cursor, the newest first; and the next cursor is
// where it ended.
func FuzzPages(f *testing.F) {
	log, org := recorded(f)
	const id = "0193a5b0-0000-7000-8000-00000000000a"
	for _, cursor := range []string{
		"", id, "ffffffff-ffff-ffff-ffff-ffffffffffff", strings.ToUpper(id), "{" + id + "}", id + "\n",
		"x' OR 1=1--", id + "' UNION SELECT 1--",
		"\x00", "\xff", strings.Repeat("0", 64), "%", "*", "-1", "1e9",
	} {
		f.Add(cursor, "", "", "", "", int64(0), int64(0), 2)
		f.Add(cursor, "acme/deploy", "74", id, agentidp.CodeTrustPolicyViolation, now.Unix()-60, now.Unix()+60, 200)
		f.Add("", cursor, cursor, cursor, cursor, int64(-1<<62), int64(1<<62), -1)
	}
	f.Fuzz(func(t *testing.T, cursor, repository, repositoryID, agent, code string, since, until int64, limit int) {
		page := agentidp.Page{Cursor: cursor, Limit: limit}
		from, to := instant(since), instant(until)
		decisions, next, err := log.Decisions(t.Context(), org, agentidp.DecisionFilter{
			Repository: repository, RepositoryID: repositoryID, AgentID: agent, PolicyID: agent, Code: code, Since: from, Until: to,
		}, page)
		var ids []string
		for _, d := range decisions {
			if d.OrganizationID != org.ID {
				t.Fatalf("a decision of organization %s", d.OrganizationID)
			}
			ids = append(ids, d.ID)
		}
		inOrder(t, page, ids, next, err)

		events, next, err := log.Events(t.Context(), org, agentidp.EventFilter{
			AgentID: agent, PolicyID: agent, Repository: repository, Code: code, Since: from, Until: to,
		}, page)
		ids = nil
		for _, e := range events {
			if e.OrganizationID != org.ID {
				t.Fatalf("an event of organization %s", e.OrganizationID)
			}
			ids = append(ids, e.ID)
		}
		inOrder(t, page, ids, next, err)
	})
}

func inOrder(t *testing.T, page agentidp.Page, ids []string, next string, err error) {
	t.Helper()
	if err != nil {
		if e := agentidp.AsError(err); e.Kind != agentidp.Invalid || len(ids) > 0 || next != "" {
			t.Fatalf("%v, with %d items", err, len(ids))
		}
		return
	}
	if page.Cursor != "" && !anID.MatchString(page.Cursor) {
		t.Fatalf("%q is taken for a cursor", page.Cursor)
	}
	if page.Limit == 0 {
		page.Limit = agentidp.DefaultLimit
	}
	newest := slices.IsSortedFunc(ids, func(a, b string) int { return strings.Compare(b, a) })
	switch {
	case len(ids) > page.Limit, !newest, len(ids) > 0 && page.Cursor != "" && ids[0] >= page.Cursor:
		t.Fatalf("%v behind %q", ids, page.Cursor)
	case next != "" && (len(ids) != page.Limit || next != ids[len(ids)-1]):
		t.Fatalf("the next page begins behind %q, and this one ends with %v", next, ids)
	}
}

func instant(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// recorded is the log of a database in which two organizations have records.
func recorded(f *testing.F) (*audit.Log, *agentidp.Organization) {
	f.Helper()
	db, err := store.Open(f.Context(), "sqlite:"+filepath.Join(f.TempDir(), "x.db"), store.Options{Clock: func() time.Time { return now }})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = db.Close() }) // only read from
	if err := db.Migrate(f.Context()); err != nil {
		f.Fatal(err)
	}
	var orgs []*agentidp.Organization
	for _, slug := range []string{"default", "other"} {
		org := &agentidp.Organization{ID: slug, Slug: slug, Status: agentidp.OrganizationActive, Revision: 1}
		if err := db.Write(f.Context(), func(tx *store.Tx) error { return tx.CreateOrganization(f.Context(), org) }); err != nil {
			f.Fatal(err)
		}
		orgs = append(orgs, org)
	}
	for i := range 12 {
		org, at := orgs[i%2], now.Add(time.Duration(i)*time.Second)
		d := agentidp.Decision{
			ID: agentidp.NewID(at), OrganizationID: org.ID, At: at, Outcome: agentidp.OutcomeDenied, Code: agentidp.CodeTrustPolicyViolation,
			Provider: "github", Repository: "acme/deploy", RepositoryID: "74", AgentID: "0193a5b0-0000-7000-8000-00000000000a",
		}
		e := agentidp.Event{
			ID: agentidp.NewID(at), OrganizationID: org.ID, At: at, Type: agentidp.EventExchangeDenied, Actor: "system", AgentID: d.AgentID, DecisionID: d.ID,
			Data: map[string]string{agentidp.DataRepository: d.Repository, agentidp.DataCode: d.Code},
		}
		if err := db.Record(f.Context(), &d, e); err != nil {
			f.Fatal(err)
		}
	}
	return audit.New(db), orgs[0]
}
