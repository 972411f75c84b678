package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/nearest"
)

// Codes of warnings; stable, like the codes of errors.
const (
	warnAcceptRisk       = "accept_risk_unneeded"
	warnAnyBranch        = "any_branch"
	warnAnyTag           = "any_tag"
	warnAudienceShared   = "audience_shared"
	warnClaimsOnly       = "claims_only"
	warnConditionInvalid = "condition_invalid"
	warnEventCannotMatch = "event_cannot_match"
	warnExpired          = "expired"
	warnExpiresSoon      = "expires_soon"
	warnManagementScope  = "management_scope"
	warnNeverMatched     = "never_matched"
	warnNotPinned        = "not_pinned"
	warnOutsiderEvent    = "outsider_event"
	warnTrustsRegistered = "trusts_registered_agents"
	warnUnknownClaim     = "unknown_claim"
	warnUnknownEvent     = "unknown_event"
	warnUnsafeClaim      = "unsafe_claim"
)

// pinPatience is how long a policy may go unused before its unpinned name is a
// weakness: a name that its owner gives up is free to take.
const pinPatience = 30 * 24 * time.Hour

// usePatience is how long a policy may grant nothing before somebody should ask what it
// is for, and expiryNotice how long before its end it says so.
const (
	usePatience  = 30 * 24 * time.Hour
	expiryNotice = 14 * 24 * time.Hour
)

// Warnings returns what is weak about a stored policy, each with how to mend it;
// never nil, so that it is a list in JSON. None of it keeps a policy from being
// saved or from granting.
func Warnings(p *agentidp.TrustPolicy, kind *agentidp.ProviderKind, now time.Time) []agentidp.Warning {
	warnings := []agentidp.Warning{}
	warn := func(code, format string, args ...any) {
		warnings = append(warnings, agentidp.Warning{Code: code, Message: fmt.Sprintf(format, args...)})
	}

	switch {
	case p.Repository == "":
		warn(warnClaimsOnly, "This policy is as strong as its claims: whoever the issuer of provider %s gives a token that says them gets a token here, and nothing is pinned. Make sure that the issuer never gives the same identity to somebody else, and name further claims where its tokens have some that others cannot choose.", p.Provider)
	case p.Branch == "" && p.Tag == "" && guarded(&p.TrustPolicySpec):
		warn(warnAnyBranch, "No branch or tag is named, so runs on any branch get tokens that meet the other conditions. Set branch or tag, so that it does not depend on these alone.")
	case p.Branch == "" && p.Tag == "":
		warn(warnAnyBranch, "Runs on any branch get tokens, so whoever can push a branch to %s can have one. Set branch or tag.", p.Repository)
	case p.Tag != "" && strings.Trim(p.Tag, "*/") == "":
		warn(warnAnyTag, "Runs for any tag get tokens, so whoever can push a tag to %s can have one. Set a narrower pattern, for example v*, and protect such tags.", p.Repository)
	}
	if !p.Bootstrap() && len(p.Audiences) == 0 {
		warn(warnAudienceShared, "Tokens are for the shared default audience, so a service that gets one can present it to every other that trusts the same audience. Set audiences to the service's own URL.")
	}
	for _, event := range p.Events {
		if kind != nil && kind.OutsiderEvent[event].Why != "" {
			warn(warnOutsiderEvent, "The event %s is permitted, which is unsafe by default. %s. Remove it from events unless the workflow is safe against that.", event, strings.TrimSuffix(kind.OutsiderEvent[event].Why, "."))
		}
	}
	warnings = append(warnings, misspeltEvents(p, kind)...)
	if p.AcceptRisk != "" && kind != nil && len(reachable(p.Events, kind)) == 0 {
		warn(warnAcceptRisk, "acceptRisk gives a reason, and no event is permitted that outsiders can cause. Remove it, so that it does not excuse an event that is added later.")
	}
	if kind != nil && !slices.Equal(p.Events, set(kind.DefaultEvents)) { // The defaults are meant to fit one rule or another.
		for _, event := range p.Events {
			if why := cannotMatch(p, kind.EventRefs[event], event); why != "" {
				warn(warnEventCannotMatch, "The event %s is permitted to no effect: %s", event, why)
			}
		}
	}
	warnings = append(warnings, conditionWarnings(p, kind)...)
	if reserved := slices.DeleteFunc(slices.Clone(p.Scopes), func(s string) bool { return !agentidp.IsManagementScope(s) }); len(reserved) > 0 {
		warn(warnManagementScope, "Tokens may carry scopes of the management API: %s. Remove them unless this agent administers AgentIdP.", strings.Join(reserved, ", "))
	}
	warnings = append(warnings, personClaims(p, kind)...)
	warnings = append(warnings, unknownClaims(p, kind)...)
	if p.TrustRegisteredAgents {
		warn(warnTrustsRegistered, "Every agent that this policy registers gets a trust policy of its own that nobody looked at: the runs that are permitted here get tokens in its name at once, with whatever capabilities it is given later, for the shared default audience. Leave trustRegisteredAgents out unless all of these runs may act as all of these agents; then create a policy with scopes and audiences for each agent.")
	}
	if p.Pinned == nil && p.Repository != "" && now.Sub(p.CreatedAt) >= pinPatience {
		warn(warnNotPinned, "This policy is 30 days old and no exchange has pinned %s, or its pin was cleared: it is known by its name alone, and whoever holds that name at the next accepted exchange is trusted. Delete the policy if it is not needed, or set repositoryId and repositoryOwnerId.", p.Repository)
	}
	warnOfUse(p, now, warn)
	return warnings
}

// misspeltEvents returns the warnings about events that are not known and nearly called like
// one that is. Of others nothing is said: there are more than are known here.
func misspeltEvents(p *agentidp.TrustPolicy, kind *agentidp.ProviderKind) (warnings []agentidp.Warning) {
	if kind == nil {
		return nil
	}
	known := slices.Concat(kind.DefaultEvents, slices.Sorted(maps.Keys(kind.OutsiderEvent)), slices.Sorted(maps.Keys(kind.EventRefs)))
	for _, event := range p.Events {
		if slices.Contains(known, event) {
			continue // nearly all are, and to look for a near one costs more than a grade
		}
		if meant, ok := nearest.Name(event, known); ok {
			warnings = append(warnings, agentidp.Warning{Code: warnUnknownEvent, Message: fmt.Sprintf(
				"The event %s is none that runs of kind %s are known to be started by. Is %s meant? Check its name.", plain(event), kind.Name, meant)})
		}
	}
	return warnings
}

// warnOfUse says what time has made of a policy: that it ends, or that nobody uses it.
func warnOfUse(p *agentidp.TrustPolicy, now time.Time, warn func(code, format string, args ...any)) {
	if p.ExpiresAt != nil {
		end := p.ExpiresAt.UTC().Format(time.RFC3339)
		switch left := p.ExpiresAt.Sub(now); {
		case left < time.Second: // as Match says it
			warn(warnExpired, "This policy expired at %s and grants nothing. Delete it, or set a later expiresAt.", end)
			return
		case left <= expiryNotice:
			warn(warnExpiresSoon, "This policy expires at %s, in 14 days at most, and grants nothing from then on. Set a later expiresAt if it is to go on.", end)
		}
	}
	if p.MatchCount > 0 || p.Mode == agentidp.ModeDisabled || now.Sub(p.CreatedAt) < usePatience {
		return
	}
	if p.Mode == agentidp.ModeShadow {
		warn(warnNeverMatched, "This policy is 30 days old and would have granted nothing: the runs that it is for do not come, or do not meet it. The decisions on them say which of its conditions failed. Mend these, or delete it.")
		return
	}
	warn(warnNeverMatched, "This policy is 30 days old and has granted nothing: the runs that it is for do not come, or do not meet it. The decisions on them say which of its conditions failed. Delete it if nobody needs it: what it trusts may still be used.")
}

// cannotMatch says why a run that this event starts never satisfies the policy's
// branch or tag, or returns "" where it may.
func cannotMatch(p *agentidp.TrustPolicy, ref agentidp.EventRef, event string) string {
	if ref == agentidp.RefDefaultBranch && p.Tag != "" {
		return "such runs are for the default branch, which no tag permits. Remove it, or make a policy of its own for that branch."
	}
	switch event {
	case "pull_request", "pull_request_review", "pull_request_review_comment":
		return "such runs are for refs/pull/…, which no branch or tag permits, except that of a pull request closed by its merge. Use push, which follows every merge."
	case "merge_group":
		if p.Tag != "" || !strings.HasPrefix(p.Branch, mergeQueueBranch) {
			return "such runs are for refs/heads/" + mergeQueueBranch + "…, which this policy does not permit. Use push, which follows every merge."
		}
	case "release":
		if p.Tag == "" {
			return "such runs are for a tag, which this policy does not permit. Set tag instead of branch."
		}
	}
	return ""
}
