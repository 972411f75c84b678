package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

// policyServer has policies, and fails at a request if it is told to.
type policyServer struct {
	have   []*agentidp.TrustPolicy
	fails  string // the beginning of the request that fails: "POST /api/…"
	status int
	moved  bool // somebody changes every policy after it was listed
	asked  []string
}

func (s *policyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const policies = "/api/v1/oidc/trust-policies"
	asked := r.Method + " " + strings.TrimPrefix(r.URL.Path, policies)
	if tag := r.Header.Get("If-Match"); tag != "" {
		asked += " " + tag
	}
	var spec agentidp.TrustPolicySpec
	_ = json.NewDecoder(r.Body).Decode(&spec) // a GET has none
	answer := func(status int, v any) {
		w.Header().Set("Content-Type", map[bool]string{true: "application/json", false: "application/problem+json"}[status < 300])
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	if !strings.HasPrefix(asked, "GET") && asked != "POST /lint" {
		s.asked = append(s.asked, strings.TrimSpace(asked+" "+spec.Branch))
	}
	if s.fails != "" && strings.HasPrefix(asked+" "+spec.Branch, s.fails) {
		answer(s.status, map[string]any{"code": "insufficient_scope", "message": "No."})
		return
	}
	switch {
	case asked == "GET ":
		answer(200, map[string]any{"items": s.have})
	case asked == "POST /lint":
		answer(200, agentidp.PolicyDraft{TrustPolicySpec: policy.Normalize(spec, nil), PolicyAssessment: agentidp.PolicyAssessment{Grade: agentidp.GradeC, Weakest: &agentidp.WeakestToken{Who: "anyone who can push to " + spec.Branch}, Warnings: []agentidp.Warning{{Code: "not_new", Message: "It is old."}}}})
	case asked == "POST ":
		answer(201, agentidp.TrustPolicy{ID: "new-" + spec.Branch, TrustPolicySpec: spec})
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	default:
		for _, p := range s.have {
			if strings.HasPrefix(asked, "GET /"+p.ID) && s.moved {
				changed := *p
				changed.Branch = "elsewhere"
				p = &changed
			}
			if strings.HasSuffix(r.URL.Path, p.ID) {
				answer(200, p)
				return
			}
		}
		answer(404, map[string]any{"code": "not_found", "message": "Nothing."})
	}
}

func there(n int, branch string) *agentidp.TrustPolicy {
	spec := agentidp.TrustPolicySpec{Provider: "github", Repository: "acme/deploy", Branch: branch, Events: []string{"push"}}
	return &agentidp.TrustPolicy{
		ID: fmt.Sprintf("01890000-0000-7000-8000-00000000000%d", n), TrustPolicySpec: policy.Normalize(spec, nil), CreatedBy: "admin:1", Revision: int64(n),
		PolicyAssessment: agentidp.PolicyAssessment{Grade: agentidp.GradeB, Warnings: []agentidp.Warning{}},
	}
}

// run applies files of one policy for each branch.
func (s *policyServer) run(t *testing.T, branches string, flags ...string) (code int, out, complaints string) {
	t.Helper()
	server := httptest.NewServer(s)
	defer server.Close()
	t.Setenv("AGENTIDP_SERVER", server.URL)
	t.Setenv("AGENTIDP_TOKEN", "the-admin-token")
	var file, stdout, stderr strings.Builder
	for _, branch := range strings.Fields(branches) {
		fmt.Fprintf(&file, "---\nprovider: github\nrepository: acme/deploy\nevents: [push]\nbranch: %s\n", branch)
	}
	code = Main(t.Context(), append([]string{"policy", "apply", "-f", "-"}, flags...), &IO{In: strings.NewReader(file.String()), Out: &stdout, Err: &stderr})
	return code, stdout.String(), stderr.String()
}

func TestWhatApplySends(t *testing.T) {
	registered := there(3, "main")
	registered.CreatedBy, registered.AgentID, registered.MaxAgents = "policy:01890000-0000-7000-8000-000000000001", planAgent, 0
	for _, tt := range []struct {
		name     string
		server   policyServer
		branches string
		flags    []string
		code     int
		asked    string   // all that changes something, with the revision
		says     []string // parts of what is printed, in order
	}{
		{
			"creates come first, then updates, each as it was planned",
			policyServer{have: []*agentidp.TrustPolicy{there(1, "a"), there(2, "b")}}, "a c n", nil, exitOK,
			`POST  n; PUT /01890000-0000-7000-8000-000000000002 "2" c`,
			[]string{"~ update  01890000-0000-7000-8000-000000000002  github acme/deploy branch c bootstrap  (standard input:7)\n    branch: b → c\n    grade: B → C  (anyone who can push to c)\n    warning: not_new: It is old.\n= 1 unchanged\nPlan: 1 to create, 1 to update, 0 to delete.\ncreated new-n ", "\nupdated "},
		},
		{
			"a deletion is of the revision that was shown",
			policyServer{have: []*agentidp.TrustPolicy{there(1, "a"), there(2, "b")}}, "b", []string{"--prune"}, exitOK,
			`DELETE /01890000-0000-7000-8000-000000000001 "1"`,
			[]string{"- delete  01890000-0000-7000-8000-000000000001  github acme/deploy branch a bootstrap  grade B, never matched\n", "Applied: 0 created, 0 updated, 1 deleted.\n"},
		},
		{
			"what a registration created stays, and is named",
			policyServer{have: []*agentidp.TrustPolicy{there(1, "a"), registered}}, "a", []string{"--prune"}, exitOK, "",
			[]string{"  keep    01890000-0000-7000-8000-000000000003  github acme/deploy branch main agent " + planAgent + "  grade B, never matched  (in no file; a registration created it)\n", "Plan: 0 to create, 0 to update, 0 to delete.\n"},
		},
		{
			"a failure says what was done, what failed and what was not done",
			policyServer{have: []*agentidp.TrustPolicy{there(1, "a")}, fails: "POST  y", status: 403}, "x a y z", nil, exitRefused,
			"POST  x; POST  y",
			[]string{"created new-x  github acme/deploy branch x bootstrap\n", "agentidp: github acme/deploy branch y bootstrap: create the trust policy: No. (403 insufficient_scope)\nagentidp: not done: create github acme/deploy branch z bootstrap\nagentidp: changes made: 1 of 3; run it again to go on\n"},
		},
		{
			"what was changed meanwhile is not changed again",
			policyServer{have: []*agentidp.TrustPolicy{there(1, "a")}, moved: true}, "b", nil, exitFailed, "",
			[]string{"agentidp: github acme/deploy branch b bootstrap: somebody changed it since the plan was made\nagentidp: changes made: 0 of 1; run it again to go on\n"},
		},
		{
			"nothing is asked to change where the plan cannot be made",
			policyServer{fails: "POST /lint y", status: 400}, "x y z", nil, exitRefused, "",
			[]string{"agentidp: standard input:7: No. (400 insufficient_scope)\n"},
		},
	} {
		code, out, complaints := tt.server.run(t, tt.branches, tt.flags...)
		said := out + complaints
		if asked := strings.Join(tt.server.asked, "; "); code != tt.code || asked != tt.asked {
			t.Errorf("%s: exit code %d, asked %s\nwant %d, %s\n%s", tt.name, code, asked, tt.code, tt.asked, said)
		}
		for _, part := range tt.says {
			_, after, found := strings.Cut(said, part)
			if !found {
				t.Errorf("%s: it does not say\n%s\nbut\n%s", tt.name, part, out+complaints)
			}
			said = after
		}
	}
}
