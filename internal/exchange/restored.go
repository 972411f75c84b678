package exchange

import (
	"fmt"
	"strconv"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/verify"
)

// notSinceRestore refuses a subject token that may have been exchanged before the
// database was put back to an earlier state, which does not remember it. The issuer's
// clock may be ahead of ours by the skew, so a token that says it was issued within it
// after the restore may be an older one, and is refused like one. While no token can
// prove to be newer than that, the answer is "try again" rather than "invalid".
func (a *attempt) notSinceRestore() error {
	restored := a.org.RestoredAt
	if restored.IsZero() || a.claims.IssuedAt.After(restored.Add(verify.Skew)) {
		return nil
	}
	now, from := a.Clock(), restored.Add(verify.Skew+time.Second)
	if a.claims.IssuedAt.After(restored) && now.Before(from) {
		e := agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable, fmt.Sprintf(
			"This server was restored from a backup at %s, and does not know which subject tokens were exchanged before. Try again with a fresh ID token after %s.",
			restored.Format(time.RFC3339), from.Format(time.RFC3339)))
		e.RetryAfter = from.Sub(now)
		return e
	}
	return &agentidp.Error{
		Kind: agentidp.Unauthenticated, Code: agentidp.CodeInvalidToken, Reason: agentidp.ReasonTokenTooOld,
		Message: fmt.Sprintf("This server was restored from a backup at %s, and does not know which subject tokens were exchanged before; this one may have been. Request a fresh ID token.",
			restored.Format(time.RFC3339)),
		Claims: map[string]string{"iat": strconv.FormatInt(a.claims.IssuedAt.Unix(), 10)},
	}
}
