// Package problem turns an agentidp.Error into what HTTP says: the status, the
// application/problem+json document (RFC 9457) and the headers that belong to
// it. It owns the only table of statuses.
//
// It does not own the OAuth error bodies of RFC 6749 (internal/oauth), and it
// logs nothing: it leaves the error with the request, and the access log, which
// runs once per request, reports it.
package problem

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
)

// statuses is the one place where a kind of error meets a number.
var statuses = map[agentidp.Kind]int{
	agentidp.Internal:             http.StatusInternalServerError,
	agentidp.Invalid:              http.StatusBadRequest,
	agentidp.Unauthenticated:      http.StatusUnauthorized,
	agentidp.Denied:               http.StatusForbidden,
	agentidp.NotFound:             http.StatusNotFound,
	agentidp.MethodNotAllowed:     http.StatusMethodNotAllowed,
	agentidp.Conflict:             http.StatusConflict,
	agentidp.Stale:                http.StatusPreconditionFailed,
	agentidp.PreconditionRequired: http.StatusPreconditionRequired,
	agentidp.TooLarge:             http.StatusRequestEntityTooLarge,
	agentidp.UnsupportedMedia:     http.StatusUnsupportedMediaType,
	agentidp.TooMany:              http.StatusTooManyRequests,
	agentidp.Unavailable:          http.StatusServiceUnavailable,
}

// Status returns the HTTP status of a kind.
func Status(kind agentidp.Kind) int { return statuses[kind] }

// ContentType is the media type of a Document.
const ContentType = "application/problem+json"

// Document is the body of every error outside OAuth (RFC 9457 §3). Message
// repeats Detail for clients that look for that name.
type Document struct {
	Type       string                `json:"type" example:"urn:agentidp:error:branch_not_permitted"`
	Title      string                `json:"title" example:"Branch not permitted"`
	Status     int                   `json:"status" example:"403"`
	Detail     string                `json:"detail" doc:"What was wrong and what to do about it."`
	Code       string                `json:"code" doc:"Stable, snake_case: switch on this." example:"branch_not_permitted"`
	Message    string                `json:"message" doc:"The same text as detail."`
	Details    []agentidp.FieldError `json:"details,omitempty" doc:"Every bad field of the request; of more than fifty the first fifty."`
	Reason     string                `json:"reason,omitempty" doc:"Refines invalid_token once the subject token's signature is proven."`
	Claims     map[string]string     `json:"claims,omitempty" doc:"The caller's own claims that the failed check read."`
	RequestID  string                `json:"request_id,omitempty" doc:"Names this request in the server's log."`
	DecisionID string                `json:"decision_id,omitempty" doc:"Names the durable record of a refused exchange."`
}

// New returns the document of an error.
func New(err *agentidp.Error, requestID string) *Document {
	return &Document{
		Type: "urn:agentidp:error:" + err.Code, Title: title(err.Code), Status: Status(err.Kind),
		Detail: err.Message, Code: err.Code, Message: err.Message, Details: err.Details,
		Reason: err.Reason, Claims: err.Claims, RequestID: requestID, DecisionID: err.DecisionID,
	}
}

// title makes "Branch not permitted" of "branch_not_permitted": RFC 9457 wants a
// title that is the same for every occurrence of a type.
func title(code string) string {
	s := strings.ReplaceAll(strings.ReplaceAll(code, "_", " "), "dpop", "DPoP")
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// Error makes a Document an error, as huma wants of a response body.
func (d *Document) Error() string { return d.Code + ": " + d.Detail }

// GetStatus gives huma the status.
func (d *Document) GetStatus() int { return d.Status }

// ContentType gives huma the media type.
func (d *Document) ContentType(string) string { return ContentType }

// Write answers a request with an error. Whatever err is, only what an
// agentidp.Error declares public reaches the caller.
func Write(w http.ResponseWriter, r *http.Request, err error) {
	e := Note(r.Context(), err)
	SetHeaders(w.Header(), e)
	Lead(r.Context(), w.Header(), e)
	w.Header().Set("Content-Type", ContentType)
	w.WriteHeader(Status(e.Kind))
	if r.Method != http.MethodHead {
		_ = Encode(w, New(e, RequestID(r.Context()))) // the client left: nobody to tell
	}
}

// Encode writes JSON as people read it: < and > stay what they are, since no
// answer of this server is ever HTML (its type is declared, and nosniff).
func Encode(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// SetHeaders sets the headers that an error of this kind must carry:
// WWW-Authenticate (see challenges), Retry-After and Allow (RFC 9110), and of a limit
// that was reached those of SetRateLimit.
func SetHeaders(h http.Header, e *agentidp.Error) {
	h.Set("Cache-Control", "no-store")
	if values := challenges(e); values != nil {
		h["Www-Authenticate"] = values
	}
	after := e.RetryAfter
	if after == 0 && e.Kind == agentidp.Unavailable {
		after = time.Second // when it will be over is not known; not at once
	}
	if after > 0 {
		h.Set("Retry-After", strconv.Itoa(seconds(after)))
	}
	if e.RateLimit != nil {
		SetRateLimit(h, e.RateLimit)
	}
}

// Lead adds to every challenge of a 401 of the API what leads to a better token: the
// scope that the operation needs, and where the API is described (RFC 9728 §5.1). The
// address is the organization's own; nothing of the request is in it.
func Lead(ctx context.Context, h http.Header, e *agentidp.Error) {
	if e.Kind != agentidp.Unauthenticated {
		return
	}
	var more []string
	if e.Scope != "" {
		more = append(more, `scope="`+e.Scope+`"`)
	}
	if t, ok := ctx.Value(traceKey{}).(*Trace); ok && t.API != nil {
		more = append(more, `resource_metadata="`+t.API.ResourceMetadataURL()+`"`)
	}
	challenges := h["Www-Authenticate"]
	for i, challenge := range challenges {
		for _, parameter := range more {
			separator := " "
			if strings.Contains(challenge, " ") {
				separator = ", "
			}
			challenge += separator + parameter
		}
		challenges[i] = challenge
	}
}

// SetRateLimit tells a caller where it stands against a limit
// (draft-ietf-httpapi-ratelimit-headers-11): the quota of a minute, and how much of it
// is left for the next t seconds. It sets nothing where there is no limit. The names
// are written as http.Header has them, so that it costs an exchange little.
func SetRateLimit(h http.Header, l *agentidp.RateLimit) {
	if l.Name == "" {
		return
	}
	values := make([]string, 2)
	var room [128]byte
	b := append(append(append(room[:0], '"'), l.Name...), '"')
	n := len(b)
	b = strconv.AppendInt(append(b, ";q="...), int64(l.Quota), 10)
	values[0] = string(append(b, ";w=60"...))
	b = strconv.AppendInt(append(b[:n], ";r="...), int64(l.Remaining), 10)
	b = strconv.AppendInt(append(b, ";t="...), int64(seconds(l.Reset)), 10)
	values[1] = string(b)
	h["Ratelimit-Policy"], h["Ratelimit"] = values[:1:1], values[1:]
}

// seconds rounds up: who comes at the second that was named is not too early.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// Trace is what the edges remember of one request.
type Trace struct {
	RequestID string
	Err       error  // what the request was answered with, with its private cause
	Unproven  bool   // it proved nothing, although its answer is no error; see Unproven
	Scheme    string // see ByScheme

	API *agentidp.Organization // whose API was asked; nil: something else
}

type traceKey struct{}

// WithTrace attaches a trace to a request's context.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// Note leaves an error with the request for the access log and returns it as an
// agentidp.Error. A caller that left is told that the server was unavailable;
// it will not read it.
func Note(ctx context.Context, err error) *agentidp.Error {
	t, ok := ctx.Value(traceKey{}).(*Trace)
	if ok {
		t.Err = err
	}
	_, ours := errors.AsType[*agentidp.Error](err)
	if !ours && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable,
			"The request took too long. Try again.").WithCause(err)
	}
	e := agentidp.AsError(err)
	if ok && t.Scheme != "" && e.Scheme == "" {
		by := *e
		by.Scheme = t.Scheme
		return &by
	}
	return e
}

// ByScheme notes the scheme by which a request presents an access token, where that is
// not Bearer: challenges in its answer are of that scheme.
func ByScheme(ctx context.Context, scheme string) {
	if t, ok := ctx.Value(traceKey{}).(*Trace); ok {
		t.Scheme = scheme
	}
}

// Unproven notes that a request presented a token that is none of ours, where the
// answer does not say so: it counts against its address like one that was refused.
func Unproven(ctx context.Context) {
	if t, ok := ctx.Value(traceKey{}).(*Trace); ok {
		t.Unproven = true
	}
}

// AsksAPI notes that a request is for an organization's API, so that a 401 says where
// that is described.
func AsksAPI(ctx context.Context, org *agentidp.Organization) {
	if t, ok := ctx.Value(traceKey{}).(*Trace); ok {
		t.API = org
	}
}

// RequestID returns the id of the request that a context belongs to.
func RequestID(ctx context.Context) string {
	if t, ok := ctx.Value(traceKey{}).(*Trace); ok {
		return t.RequestID
	}
	return ""
}
