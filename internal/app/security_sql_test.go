package app

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// sqlTexts would end a text in a statement, and go on with one of their own.
var sqlTexts = []string{
	`' OR '1'='1`, `'; DROP TABLE agents; --`, `' UNION SELECT key_id, sealed_private_key FROM signing_keys --`, `\'; SELECT 1/0 --`, `" OR ""="`, `1) OR (1=1`, `%`, `$1`, `?`,
}

// freely are the inputs whose text is anybody's to choose. Others are refused for their
// form before storage is asked.
var freely = map[string]bool{"body.description": true, "body.version": true, "body.branch": true, "run.repository": true, "run.repository_id": true, "run.repository_owner_id": true}

// TestA226SQLInEveryInput: every text in every request of the matrix, in its path,
// query and body, is SQL, alone and behind what is valid. No statement fails for it, no
// filter finds more for it, what is stored is what was sent, and what another
// organization has stays as it was.
func TestA226SQLInEveryInput(t *testing.T) {
	t.Parallel()
	m := newMatrix(t)
	asked := 0
	for _, op := range m.all {
		t.Run(op.id, func(t *testing.T) {
			alpha, bravo := m.alpha.in(t), m.bravo.in(t)
			before := bravo.everything(m.all)
			for _, build := range matrixRequests[op.id] {
				valid := build(alpha)
				for _, input := range slices.Sorted(maps.Keys(*valid)) {
					text, ok := (*valid)[input].(string)
					if !ok || strings.HasPrefix(input, "header.") {
						continue
					}
					for _, sql := range sqlTexts {
						for _, value := range []string{sql, text + sql} {
							r := maps.Clone(*valid)
							if freely[input] { // reaches storage, unless a name is taken
								r = *build(alpha)
							}
							r[input] = value
							asked++
							alpha.takesAsText(input, value, alpha.ask(op, &r, alpha.root))
						}
					}
				}
			}
			if after := bravo.everything(m.all); after != before {
				t.Errorf("the other organization was\n%s\nand is\n%s", before, after)
			}
		})
	}
	if asked < 500 {
		t.Errorf("only %d requests were made", asked)
	}
}

// takesAsText asserts that an input was refused, found nothing, or was stored as it is.
func (p *party) takesAsText(input, value string, a *answer) {
	p.t.Helper()
	place, member, _ := strings.Cut(input, ".")
	items, list := a.Body["items"].([]any)
	stored, there := a.Body[member]
	switch {
	case a.Status >= 500:
		p.t.Errorf("%s: %q was answered %d: %s", input, value, a.Status, a.Raw)
	case a.Status >= 400:
	case place == "query" && list && len(items) > 0:
		p.t.Errorf("%s: %q found %d things", input, value, len(items))
	case place == "body" && there && fmt.Sprint(stored) != value:
		p.t.Errorf("%s: %q was stored as %q", input, value, stored)
	}
}
