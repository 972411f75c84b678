package agentidp

import "time"

// RateLimit is where a caller stands against one limit. It says nothing of who else
// there is: whose requests are counted together is not in it.
type RateLimit struct {
	Name      string // of the limit, such as "exchanges-of-repository"; empty: there is no limit
	Quota     int    // how many a minute allows, and at once after a minute of none
	Remaining int
	// Reset is when more of the quota is there: all of it, or where nothing
	// remains, the next.
	Reset time.Duration
}
