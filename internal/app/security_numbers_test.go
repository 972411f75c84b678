package app

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
)

// no number of a request is taken that its field does not hold: not wrapped around,
// not rounded, not read out of a string. A life, a grace or a limit that nobody could mean
// is refused, and its field named.
func TestA230NumbersThatNoFieldHolds(t *testing.T) {
	t.Parallel()
	m := newMatrix(t)
	beyond := []string{"-1", "1000000000000", "9223372036854775807", "9223372036854775808", "18446744073709551676", "1e30", "1e400", "-1e400", "60.5", `"60"`, "[60]", "true"}
	fields := map[string][]string{} // by operation
	for _, op := range m.all {
		if slices.Contains(op.inputs, "query.limit") {
			fields[op.id] = []string{"query.limit"}
		}
	}
	maps.Copy(fields, map[string][]string{
		"createTrustPolicy": {"body.tokenTtlSeconds", "body.maxAgents"}, "replaceTrustPolicy": {"body.tokenTtlSeconds", "body.maxAgents"}, "lintTrustPolicy": {"body.tokenTtlSeconds", "body.maxAgents"},
		"createProvider": {"body.maxTokenAgeSeconds"}, "replaceProvider": {"body.maxTokenAgeSeconds"},
		"rotateCredential": {"body.graceSeconds"}, "backtestTrustPolicy": {"body.limit"}, "backtestTrustPolicyDraft": {"body.limit"},
	})
	for _, op := range m.all {
		for _, input := range fields[op.id] {
			t.Run("A-230 "+op.id+" "+input, func(t *testing.T) {
				p := m.alpha.in(t)
				good := matrixRequests[op.id][0](p)
				place, name, _ := strings.Cut(input, ".")
				for _, number := range beyond {
					r := maps.Clone(*good)
					if r[input] = json.RawMessage(number); place == "query" {
						r[input] = number // where quotation marks are no string
					}
					a := p.want(p.ask(op, &r, p.root), 400, agentidp.CodeInvalidRequest)
					if p.isProblem(a); !strings.HasPrefix(a.str("detail"), name+" ") && !strings.HasPrefix(a.str("detail"), "body is not in a form that can be read") {
						t.Errorf("%s: %s", number, a.Raw)
					}
				}
			})
		}
	}
}
