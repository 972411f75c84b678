// Package policy decides: it holds the proven claims of one run against the
// trust policies of an organization and says which of them, if any, grants a
// token, for which scopes, for whom and for how long; and where none does, why.
// It also judges policies before they are stored (Validate), gives them their
// effective form (Normalize) and an identity (Fingerprint), and names their
// weaknesses (Warnings).
//
// It is pure. It reads no clock, no storage and no network, and knows nothing
// of HTTP: everything it needs comes in, everything it decides goes out. It
// does not own the choice of candidates (internal/store), the proof of the
// claims (internal/verify) or the commit that makes a grant real.
//
// The rules that hold for every decision:
//
//   - One policy grants or none does. Conditions of two policies never mix, and
//     the order of policies never matters.
//   - An absent claim satisfies no condition.
//   - What a refused caller is told depends on its own claims and request and
//     on the code of the answer, and on nothing that a policy says. Only the
//     Checks, which are for administrators, show a policy's values.
package policy
