package store

import (
	"strconv"
	"strings"
)

// The rows that a decision was based on, in the order in which they are locked.
const (
	seenOrganization = iota
	seenProvider
	seenPolicy
	seenAgent
	seenActor
	seenCredential
	seenSource
)

// versionedTables are where they are. Every change of such a row by an
// administrator raises its revision or deletes it.
var versionedTables = [...]struct {
	from, where string
	keyColumns  []string
	fence       string // kind in fences
}{
	seenOrganization: {from: "organizations", where: "status = 'active' AND ", keyColumns: []string{"organization_id"}, fence: lockOrganizations.kind},
	seenProvider:     {from: "oidc_providers", keyColumns: []string{"organization_id", "id"}, fence: lockProviders.kind},
	seenPolicy:       {from: "oidc_trust_policies", keyColumns: []string{"organization_id", "id"}, fence: lockPolicies.kind},
	seenAgent:        {from: "agents", where: "status = 'active' AND ", keyColumns: []string{"organization_id", "id"}, fence: lockAgents.kind},
	seenActor:        {from: "agents", where: "status = 'active' AND ", keyColumns: []string{"organization_id", "id"}, fence: lockAgents.kind},
	seenCredential:   {from: "credentials", where: "revoked_at = 0 AND ", keyColumns: []string{"organization_id", "id"}, fence: lockCredentials.kind},
	seenSource:       {from: "credentials", where: "revoked_at = 0 AND ", keyColumns: []string{"organization_id", "id"}, fence: lockCredentials.kind},
}

// keyCounts are how many keys one SELECT carries; the last key is repeated to
// fill it.
var keyCounts = [...]int{1, 8, maxBatch}

// checks are the SELECTs of a batch, built once.
type checks struct {
	locked, plain [len(versionedTables)][len(keyCounts)]string // of versionedTables
	pins          [len(keyCounts)]string
	plainPins     [len(keyCounts)]string
}

func newChecks(d *dialect) *checks {
	c := new(checks)
	for i, n := range keyCounts {
		for kind, t := range versionedTables {
			id := "t." + t.keyColumns[len(t.keyColumns)-1]
			plain := "SELECT t.organization_id, " + id + ", t.revision FROM " + t.from + " t WHERE " +
				t.where + keysIn(d, t.keyColumns, n)
			c.plain[kind][i] = plain
			if d.rowLocks {
				plain += " AND NOT EXISTS (SELECT 1 FROM fences f WHERE f.organization_id = t.organization_id AND f.kind = '" + t.fence +
					"' AND f.row_id = " + id + " AND f.until > $" + strconv.Itoa(n*len(t.keyColumns)+1) + ")"
			}
			c.locked[kind][i] = plain + d.shareLock
		}
		c.plainPins[i] = "SELECT t.organization_id, t.provider, t.repository_folded, t.repository_id, t.repository_owner_id FROM pins t WHERE " +
			keysIn(d, []string{"organization_id", "provider", "repository_folded"}, n)
		c.pins[i] = c.plainPins[i] + d.shareLock
	}
	return c
}

// keysIn returns the condition that a row has one of n keys.
func keysIn(d *dialect, columns []string, n int) string {
	list := "t." + strings.Join(columns, ", t.")
	if len(columns) == 1 {
		return list + " IN (VALUES " + tuples(n, 1, d.unnamed) + ")"
	}
	return "(" + list + ") IN (VALUES " + tuples(n, len(columns), d.unnamed) + ")"
}
