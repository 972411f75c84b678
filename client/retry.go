package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/sentryagent/agentidp"
)

const (
	// DefaultMaxRetries is how often a call is repeated where Client.MaxRetries is 0.
	DefaultMaxRetries = 3
	// MaxRetryWait is the longest wait before a call is repeated. Where the server asks
	// for more with Retry-After, the call ends with its answer.
	MaxRetryWait = 30 * time.Second

	firstPause = 250 * time.Millisecond // doubled by every repetition
)

// ErrOutcomeUnknown is in the error of a change that was sent and may have been made,
// although no answer, or none but 5xx, came back: errors.Is tells. It is also in the
// refusal of a repetition, because what was refused may be what the attempt before did.
var ErrOutcomeUnknown = errors.New("an attempt got no answer that says whether it took effect; look before you do it again")

// noAnswer is the error of a request without a whole answer.
type noAnswer struct {
	error
	sent bool // a connection was had, so the server may have got it
}

// Unwrap returns the error of net/http.
func (e *noAnswer) Unwrap() error { return e.error }

// notTried is an error from before the call, such as that of a TokenSource: repeating
// the call is not the way to mend it.
type notTried struct{ error }

// Unwrap returns what it was.
func (e *notTried) Unwrap() error { return e.error }

// persist makes attempts until one succeeds, or fails in a way after which there shall
// be none again, or there were enough. Between two it waits as long as the server asked
// for and a while by chance, so that those who failed together do not come together.
func (c *Client) persist(ctx context.Context, again func(error) bool, attempt func() error) error {
	retries := cmp.Or(c.MaxRetries, DefaultMaxRetries)
	for n := 0; ; n++ {
		err := attempt()
		if err == nil {
			return nil
		}
		_, after := answered(err)
		wait := after + jitter(firstPause<<min(n, 6))
		deadline, limited := ctx.Deadline()
		if n >= retries || !again(err) || after > MaxRetryWait || limited && time.Until(deadline) < wait {
			if n > 0 {
				return fmt.Errorf("%w; tried %d times", err, n+1)
			}
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("%w; no further attempt: %w", err, ctx.Err())
		}
	}
}

// jitter returns between half and all of d.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1) //nolint:gosec // nobody gains by guessing when we come again
}

// again reports whether the call may be made again after an error. An issuer that the
// server cannot reach is for its operator to look at: waiting does not mend it.
func (k *call) again(err error) bool {
	return passing(err) && (k.repeatable() || unsent(err)) && !issuerUnreachable(err)
}

// issuerUnreachable is a 503 from before anything was done.
func issuerUnreachable(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Code == agentidp.CodeIssuerUnreachable
}

// repeatable reports whether sending the call twice does what sending it once does. A
// POST or PATCH is repeatable only where it says so.
func (k *call) repeatable() bool {
	return k.reads() || k.idempotent || k.method == http.MethodPut || k.method == http.MethodDelete
}

func (k *call) reads() bool { return k.readOnly || k.method == http.MethodGet }

// passing reports whether an error may be gone in a moment. What took as long as the
// HTTP client allows is not tried for as long again.
func passing(err error) bool {
	if _, ok := errors.AsType[*notTried](err); ok {
		return false
	}
	switch status, _ := answered(err); status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	_, unanswered := errors.AsType[*noAnswer](err)
	network, ok := errors.AsType[net.Error](err)
	slow := ok && network.Timeout()
	name, ok := errors.AsType[*net.DNSError](err)
	unknown := ok && name.IsNotFound
	_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
	plain := errors.Is(err, http.ErrSchemeMismatch)
	return unanswered && !slow && !unknown && !untrusted && !plain && !errors.Is(err, context.Canceled)
}

// unsent reports whether the request surely never left.
func unsent(err error) bool {
	e, ok := errors.AsType[*noAnswer](err)
	return ok && !e.sent
}

// lost reports whether the server may have done what it was asked to without saying so.
func lost(err error) bool {
	if _, ok := errors.AsType[*notTried](err); ok {
		return false
	}
	if e, ok := errors.AsType[*noAnswer](err); ok {
		return e.sent
	}
	status, _ := answered(err)
	return status >= http.StatusInternalServerError && !issuerUnreachable(err)
}

// answered returns the status of the answer that became the error, or 0, and how long
// that asked to wait.
func answered(err error) (status int, after time.Duration) {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status, e.RetryAfter
	}
	if e, ok := errors.AsType[*gitHubError](err); ok {
		return e.status, e.retryAfter
	}
	return 0, 0
}

// retryAfter reads the header of that name (RFC 9110 §10.2.3); 0 where there is none,
// or none that can be read.
func retryAfter(header http.Header) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return max(0, time.Until(at))
}
