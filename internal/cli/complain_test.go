package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

func TestAnErrorIsToldWithItsRemedy(t *testing.T) {
	t.Parallel()
	invalid := &client.Error{Status: 400, Code: "invalid_request", Message: "2 fields are not valid: a, b.", RequestID: "r",
		Details: []agentidp.FieldError{{Field: "a", Reason: "is wrong"}, {Field: "b", Reason: "too"}}}
	denied := &client.Error{Status: 403, Code: "branch_not_permitted", Message: "Not for this ref.", RequestID: "r", DecisionID: "d",
		Claims: map[string]string{"ref_type": "branch", "ref": "refs/heads/\x1bdev"}}
	for _, tt := range []struct {
		name string
		err  error
		code int
		want string
	}{
		{"a sentence", errors.New("it failed"), exitFailed, "agentidp: it failed\n"},
		{"several, one a line", errors.Join(errors.New("one"), errors.New("two")), exitFailed, "agentidp: one\nagentidp: two\n"},
		{"fields, one a line", fmt.Errorf("create it: %w", invalid), exitRefused,
			"agentidp: create it: 2 fields are not valid: a, b. (400 invalid_request, request r)\nagentidp:   a: is wrong\nagentidp:   b: too\n"},
		{"a refused exchange: claims, and where the reason is", fmt.Errorf("exchange the subject token: %w", denied), exitRefused,
			"agentidp: exchange the subject token: Not for this ref. (403 branch_not_permitted, request r, decision d)\n" +
				"agentidp:   ref = \"refs/heads/\\x1bdev\"\nagentidp:   ref_type = \"branch\"\n" +
				"agentidp: Why, in full, is for administrators to read: agentidp policy explain d\n"},
		{"a refused caller", fmt.Errorf("list agents: %w", &client.Error{Status: 401, Code: "invalid_token", Message: "No."}), exitRefused,
			"agentidp: list agents: No. (401 invalid_token)\nagentidp: A new access token is made on the server's machine: export AGENTIDP_TOKEN=$(agentidp admin token)\n"},
		{"a CI's token is not made there", fmt.Errorf("exchange the subject token: %w", &client.Error{Status: 401, Code: "invalid_token", Message: "No."}), exitRefused,
			"agentidp: exchange the subject token: No. (401 invalid_token)\n"},
		{"refusals of several", errors.Join(fmt.Errorf("1: %w", invalid), fmt.Errorf("2: %w", &client.Error{Status: 404, Code: "not_found", Message: "None."})), exitRefused,
			"agentidp: 1: 2 fields are not valid: a, b. (400 invalid_request, request r)\nagentidp:   a: is wrong\nagentidp:   b: too\nagentidp: 2: None. (404 not_found)\n"},
		{"what to do next", hinted{fmt.Errorf("replace it: %w", &client.Error{Status: 412, Message: "Changed."}), "Read it again."}, exitRefused,
			"agentidp: replace it: Changed. (412)\nagentidp: Read it again.\n"},
		{"a server that is away", fmt.Errorf("list agents: %w", &client.Error{Status: 503, Code: "temporarily_unavailable", Message: "Later."}), exitFailed,
			"agentidp: list agents: Later. (503 temporarily_unavailable)\n"},
		{"a wrong command line", usageError{errors.New("--x: no")}, exitUsage, "agentidp: --x: no\n"},
	} {
		var stderr strings.Builder
		if code := report(&IO{Err: &stderr}, tt.err); code != tt.code || stderr.String() != tt.want {
			t.Errorf("%s: exit code %d, want %d\n%s\nwant\n%s", tt.name, code, tt.code, stderr.String(), tt.want)
		}
	}
}
