package agentidp

import "time"

// Refusals are the subject tokens of one organization that one node of the server
// refused without a durable record: before their signature was proven, or beyond the
// rate at which refusals are recorded. They are kept in memory alone.
type Refusals struct {
	Since  time.Time      `json:"since" doc:"When the node that answers was started, and began to count. Another node counts for itself."`
	Counts []RefusalCount `json:"counts" doc:"All of them, by reason and provider."`
	Latest []Refusal      `json:"latest" doc:"A sample: the latest hundred of those that were kept, one a second at most; the newest first."`
}

// RefusalCount is how many there were of one kind.
type RefusalCount struct {
	Reason   string `json:"reason" doc:"What was wrong: format, issuer, algorithm, type, unknown_key, signature; or rate_limited."`
	Provider string `json:"provider,omitempty" doc:"The provider whose issuer the token names; absent where it got not so far."`
	Count    int64  `json:"count"`
}

// Refusal is one of them.
type Refusal struct {
	At        time.Time `json:"at"`
	RequestID string    `json:"requestId" doc:"The request_id of the answer."`
	Reason    string    `json:"reason" doc:"As in counts."`
	Provider  string    `json:"provider,omitempty"`
	Detail    string    `json:"detail,omitempty" doc:"What the server's log says of it. What the token says is quoted, and nobody has proven it."`
}
