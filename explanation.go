package agentidp

import (
	"encoding/json"
	"time"
)

// ExplainRequest asks how an exchange would be decided. Exactly one of Claims and Token
// is given.
type ExplainRequest struct {
	Claims   json.RawMessage `json:"claims,omitempty" doc:"The claims of a subject token, as a JSON object: as its payload has them."`
	Token    string          `json:"token,omitempty" minLength:"1" maxLength:"16384" doc:"A subject token. It is verified, never stored and not used up; one that has expired is explained all the same."`
	Provider string          `json:"provider,omitempty" minLength:"1" doc:"Whose claims these are. Absent: the provider whose issuer is their iss; without iss, github."`
	AgentID  string          `json:"agentId,omitempty" minLength:"1" doc:"As in the exchange. Absent: bootstrap."`
	Scope    string          `json:"scope,omitempty" minLength:"1" doc:"As in the exchange."`
	Audience string          `json:"audience,omitempty" minLength:"1" doc:"As in the exchange."`
}

// Explanation is how an exchange would be decided now. Whether the token was used
// before, and limits of rates, are not looked at.
type Explanation struct {
	Allowed  bool     `json:"allowed" doc:"Whether a token would be issued."`
	Code     string   `json:"code,omitempty" doc:"Why it would be refused, as the exchange would say."`
	Reason   string   `json:"reason,omitempty" doc:"What keeps this token itself from being exchanged, such as token_expired; before its signature is proven, as in the list of refusals. Where that is its time alone, all else says how a fresh one with the same claims would fare."`
	Message  string   `json:"message,omitempty" doc:"What the caller of the exchange would be told."`
	Provider string   `json:"provider,omitempty" doc:"Whose claims these are; absent where the issuer is no provider."`
	PolicyID string   `json:"policyId,omitempty" doc:"The policy that would grant; of those that would refuse, the one that got furthest."`
	Scope    string   `json:"scope,omitempty" doc:"Of the access token."`
	Audience string   `json:"audience,omitempty" doc:"Of the access token."`
	Seconds  int64    `json:"expiresIn,omitempty" doc:"Life of the access token, in seconds."`
	Checks   []Check  `json:"checks" doc:"As in a decision."`
	Nearest  *Miss    `json:"nearest,omitempty" doc:"As in a decision."`
	Shadow   []Shadow `json:"shadow,omitempty" doc:"As in a decision."`
	Hint     string   `json:"hint,omitempty" doc:"What to do, or what was not looked at, in words."`
}

// BacktestRequest asks what a policy would have changed.
type BacktestRequest struct {
	Policy *TrustPolicySpec `json:"policy,omitempty" doc:"A draft. Absent: the stored policy, as though its mode were enforce."`
	Limit  int              `json:"limit,omitempty" minimum:"1" maximum:"5000" doc:"How many exchanges to replay, the newest first. Default 1000."`
	Since  time.Time        `json:"since,omitzero" doc:"At this instant or later."`
}

// Backtest is what a policy would have changed in the exchanges of the past, as far as
// their claims are kept. Both sides are evaluated with the agents, pins and further
// policies of now, so they differ by this policy alone.
type Backtest struct {
	Replayed     int            `json:"replayed" doc:"Exchanges that were looked at: those of the policy's repository or provider, and of its agent or bootstrap."`
	From         *time.Time     `json:"from,omitempty" doc:"When the oldest was."`
	Until        *time.Time     `json:"until,omitempty" doc:"When the newest was."`
	Granted      int            `json:"granted" doc:"How many this policy itself accepts."`
	NewlyAllowed BacktestChange `json:"newlyAllowed" doc:"Refused as policies are now, and granted with it."`
	NewlyDenied  BacktestChange `json:"newlyDenied" doc:"Granted as policies are now, and refused with it in the place of the stored one."`
	StillAllowed int            `json:"stillAllowed" doc:"Granted as policies are now, and with it."`
	StillDenied  int            `json:"stillDenied" doc:"Refused as policies are now, and with it."`
	Notes        []string       `json:"notes" doc:"What limits what this says."`
}

// BacktestChange is a number of exchanges and some of them.
type BacktestChange struct {
	Count    int               `json:"count" doc:"How many exchanges."`
	Examples []BacktestExample `json:"examples" doc:"The newest of them, at most 10, no two alike."`
}

// BacktestExample is one exchange that would have been decided otherwise.
type BacktestExample struct {
	DecisionID string    `json:"decisionId" doc:"The decision on it."`
	At         time.Time `json:"at" doc:"When it was decided."`
	Repository string    `json:"repository,omitempty" doc:"As in the decision."`
	Subject    string    `json:"subject,omitempty" doc:"The subject of the workload, where that identifies it."`
	Ref        string    `json:"ref,omitempty" doc:"The whole ref."`
	Event      string    `json:"event,omitempty" doc:"The event that started the run."`
	AgentID    string    `json:"agentId,omitempty" doc:"The agent that was asked for; absent in bootstrap mode."`
	Code       string    `json:"code,omitempty" doc:"Why the side that refuses it does."`
	Check      *Check    `json:"check,omitempty" doc:"The check at which this policy stops it; absent where it is granted."`
}
