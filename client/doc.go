// Package client is a Go client of AgentIdP's API (/api/v1): the exchange, trust
// policies, providers, agents, the introspection and revocation of tokens, and what was
// decided, refused and done. It speaks in the types of package agentidp.
//
//	c := &client.Client{BaseURL: "https://idp.example.com", Token: adminToken}
//	policy, err := c.CreateTrustPolicy(ctx, agentidp.TrustPolicySpec{
//		Provider: "github", Repository: "acme/deploy", Branch: "main",
//	})
//
// It owns requests, limits, tokens and errors as a Go program wants them. It decides
// nothing: every rule is the server's.
//
// # Tokens
//
// Client.Token is one access token; Client.Tokens is a source of them: a TokenFile,
// which is read anew for every request, or in a CI job an ExchangeSource, which turns
// ID tokens into access tokens and renews them in time. Transport adds the token of a
// source to requests to other services.
//
// # Errors
//
// What the server refused is an *Error. Its Code is stable for ever:
//
//	if e, ok := errors.AsType[*client.Error](err); ok && e.Code == agentidp.CodePolicyExists {
//
// invalid_request is a request to mend, and Details name the fields; invalid_token and
// authentication_required ask for another token, insufficient_scope for one that may do
// more; not_found is also what another organization has; precondition_failed means that
// somebody changed the thing since it was read; rate_limited and
// temporarily_unavailable pass, after RetryAfter. Why an exchange was refused, and what
// its sender can do: docs/exchange.md in the repository; all codes: docs/errors.md.
//
// # Retries
//
// A call is repeated, up to Client.MaxRetries times, where the trouble may pass and
// doing it twice comes to the same as once:
//
//   - whatever the call, while no connection is had, because nothing was sent then;
//   - what reads (every Get and List, Introspect, TestProvider), PUT and DELETE, and RegisterAgent,
//     SuspendAgent, RevokeToken and RevokeTokens, also when a connection broke, or the
//     answer was 429, 502, 503 or 504 (but issuer_unreachable).
//
// Nothing else is: what creates, widens authority (Repin, ReactivateAgent) or patches is
// sent once, since a second time could undo what somebody did in between. No subject
// token is sent twice: ExchangeSource repeats an exchange with a fresh one.
// A change that got no answer, or 5xx, has ErrOutcomeUnknown in its error: look whether
// it was made.
//
// Between two attempts the client waits as long as Retry-After says and a quarter of a
// second more, doubled every time and cut by chance. It does not wait beyond
// MaxRetryWait, nor when the context would end first: the answer is the error then.
package client
