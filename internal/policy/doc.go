// Package policy decides: it holds the proven claims of one run against the
// trust policies of an organization and says which of them, if any, grants a
// token, for which scopes, for whom and for how long; and where none does, why.
// Beside the decision it tells administrators what was compared (Checks), which
// policy came the nearest with the smallest change that would have let the run in
// (Miss), and what policies in shadow mode would have done (Shadow).
//
// It also judges policies before they are stored (Validate), gives them their
// effective form (Normalize) and an identity (Fingerprint), and says how strong
// they are, who can get the weakest token that they accept, and what is weak about
// them (Assess). A grade and a repair are found by trying: the comparisons that
// decide exchanges are the only ones that there are.
//
// It is pure. It reads no clock, no storage and no network, and knows nothing
// of HTTP: everything it needs comes in, everything it decides goes out. It
// does not own the choice of candidates (internal/store), the proof of the
// claims (internal/verify), the language of conditions (internal/condition) or the
// commit that makes a grant real.
//
// The rules that hold for every decision:
//
//   - One policy grants or none does. Conditions of two policies never mix, and
//     the order of policies never matters.
//   - An absent claim satisfies no condition, but for an expression that asks
//     whether it is there.
//   - What a refused caller is told depends on its own claims and request and
//     on the code of the answer, and on nothing that a policy says. Only
//     what is for administrators alone (Checks, Miss, Shadow) shows a policy's
//     values.
package policy
