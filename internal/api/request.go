package api

import (
	"mime"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/problem"
	"github.com/sentryagent/agentidp/internal/registry"
)

const (
	mediaJSON       = "application/json"
	mediaMergePatch = "application/merge-patch+json"
)

// authenticate reads the bearer token of a request (RFC 6750 §2.1). A token
// anywhere else, as in the query, is not looked at.
func (a *API) authenticate(r *http.Request) (*agentidp.Principal, error) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return nil, agentidp.NewError(agentidp.Unauthenticated, agentidp.CodeAuthenticationRequired,
			"This operation needs an access token: send Authorization: Bearer <token>. The first one is made on the server's machine with: agentidp admin token.")
	}
	scheme, bearer, ok := strings.Cut(values[0], " ")
	if len(values) > 1 || !ok || !strings.EqualFold(scheme, "Bearer") || bearer == "" {
		return nil, agentidp.NewError(agentidp.Unauthenticated, agentidp.CodeInvalidToken,
			"The Authorization header is not one bearer token: send it once, as Authorization: Bearer <token>.")
	}
	return a.Tokens.Authenticate(r.Context(), registry.OrganizationFrom(r.Context()), bearer)
}

// checkBody refuses a body in a form that will not be read, before it is read.
func checkBody(op operation) func(huma.Context, func(huma.Context)) {
	return func(hc huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(hc)
		if r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch {
			if err := acceptable(r, op.media); err != nil && r.ContentLength != 0 {
				problem.Write(w, r, err)
				return
			}
		}
		next(hc)
	}
}

// acceptable checks the media type and encoding of a body. A browser cannot send
// these types across origins without asking first, which ends CSRF by form.
func acceptable(r *http.Request, media []string) error {
	refuse := func() error {
		return agentidp.NewError(agentidp.UnsupportedMedia, agentidp.CodeUnsupportedMediaType,
			"Send the body as Content-Type: "+strings.Join(media, " or ")+", in UTF-8 and without Content-Encoding.")
	}
	got, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(media, got) || len(r.Header.Values("Content-Type")) > 1 || r.Header.Get("Content-Encoding") != "" {
		return refuse()
	}
	for name, value := range params {
		if name != "charset" || !strings.EqualFold(value, "utf-8") {
			return refuse()
		}
	}
	return nil
}

var documentType = reflect.TypeFor[problem.Document]()

// huma asks these two hooks for every error that it answers: its own refusals of
// a request's shape, and what handlers return.
func init() {
	huma.ValidateStrictCasing = true                                                            // JSON names are exact: "Name" is not "name"
	huma.NewError = func(int, string, ...error) huma.StatusError { return &problem.Document{} } // the schema's example
	huma.NewErrorWithContext = func(hc huma.Context, status int, msg string, errs ...error) huma.StatusError {
		r, w := humago.Unwrap(hc)
		e := problem.Note(r.Context(), translate(status, msg, errs))
		problem.SetHeaders(w.Header(), e)
		return problem.New(e, problem.RequestID(r.Context()))
	}
}

// translate turns huma's account of an error into ours. What huma quotes of the
// request is dropped: a body may hold a token.
func translate(status int, msg string, errs []error) error {
	if status == http.StatusInternalServerError && len(errs) == 1 {
		return errs[0] // what a handler returned
	}
	switch status {
	case http.StatusRequestEntityTooLarge:
		return tooLarge()
	case http.StatusNotAcceptable:
		return agentidp.InvalidFields(agentidp.FieldError{Field: "Accept", Reason: "this API answers application/json"})
	case http.StatusRequestTimeout:
		return agentidp.InvalidFields(agentidp.FieldError{Field: "body", Reason: "took too long to arrive"})
	}
	var details []agentidp.FieldError
	for _, err := range errs {
		d, ok := err.(huma.ErrorDetailer)
		if !ok {
			continue
		}
		detail := d.ErrorDetail()
		e := agentidp.FieldError{Field: field(detail), Reason: reason(detail.Message)}
		if e.Field == "body" { // it could not be read, so nothing in it is missing or wrong
			return agentidp.InvalidFields(e)
		}
		if !slices.ContainsFunc(details, func(other agentidp.FieldError) bool { return other.Field == e.Field }) {
			details = append(details, e)
		}
	}
	if len(details) == 0 {
		details = []agentidp.FieldError{{Field: "body", Reason: msg}}
	}
	return agentidp.InvalidFields(details...)
}

// found gives huma bad fields of a body that it did not find itself.
func found(bad []agentidp.FieldError) []error {
	errs := make([]error, len(bad))
	for i, b := range bad {
		errs[i] = &huma.ErrorDetail{Location: "body." + b.Field, Message: b.Reason}
	}
	return errs
}

// field makes "events[1]" of huma's "body.events[1]", and names the member itself
// where huma names its parent.
func field(d *huma.ErrorDetail) string {
	for _, prefix := range []string{"body.", "query.", "path.", "header."} {
		if name, ok := strings.CutPrefix(d.Location, prefix); ok {
			return name
		}
	}
	if name, ok := strings.CutPrefix(d.Message, "expected required property "); ok {
		name, _, _ = strings.Cut(name, " ")
		return name
	}
	return d.Location
}

func reason(message string) string {
	switch {
	case message == "unexpected property":
		return "is unknown here, or read-only; leave it out"
	case strings.HasPrefix(message, "expected required property "):
		return "is required"
	case message == "unknown query parameter":
		return "is unknown here; leave it out"
	}
	return message
}

func tooLarge() error {
	return &agentidp.Error{Kind: agentidp.TooLarge, Code: agentidp.CodePayloadTooLarge, Message: "The body is larger than 64 KiB.",
		Details: []agentidp.FieldError{{Field: "body", Reason: "is larger than 64 KiB"}}}
}

// etag renders a revision as an entity tag.
func etag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

// parseETag reads the revision of an If-Match header; 0 where the header is
// absent. One strong tag, as this API gave it, is all that makes sense here.
func parseETag(ifMatch string) (int64, error) {
	if ifMatch == "" {
		return 0, nil
	}
	digits := strings.TrimSuffix(strings.TrimPrefix(ifMatch, `"`), `"`)
	revision, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || revision < 1 || etag(revision) != ifMatch {
		return 0, agentidp.InvalidFields(agentidp.FieldError{Field: "If-Match", Reason: `must be the ETag that was read, such as "3" with its quotation marks`})
	}
	return revision, nil
}

func requireETag(ifMatch string) (int64, error) {
	if ifMatch == "" {
		return 0, agentidp.NewError(agentidp.PreconditionRequired, agentidp.CodePreconditionRequired,
			"A replacement needs If-Match with the ETag that was read, so that nobody's change is lost.")
	}
	return parseETag(ifMatch)
}
