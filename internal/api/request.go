package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/dpop"
	"github.com/sentryagent/agentidp/internal/problem"
	"github.com/sentryagent/agentidp/internal/registry"
)

const (
	mediaJSON       = "application/json"
	mediaMergePatch = "application/merge-patch+json"
)

// authenticate turns the access token of a request into its principal.
func (a *API) authenticate(r *http.Request) (*agentidp.Principal, error) {
	org := registry.OrganizationFrom(r.Context())
	presented, proof, err := dpop.Presented(r, org.Issuer+r.URL.EscapedPath(), a.Clock())
	if err != nil {
		return nil, err
	}
	if proof != nil {
		problem.ByScheme(r.Context(), agentidp.SchemeDPoP)
	}
	if presented == "" {
		return nil, agentidp.NewError(agentidp.Unauthenticated, agentidp.CodeAuthenticationRequired,
			"This operation needs an access token: send Authorization: Bearer <token>. The first one is made on the server's machine with: agentidp admin token.")
	}
	return a.Tokens.Authenticate(r.Context(), org, presented, proof)
}

// checkBody refuses a body in a form that will not be read, before it is read; and
// where an operation takes none, any: whoever sends one learns that it is not heeded.
func checkBody(op operation) func(huma.Context, func(huma.Context)) {
	return func(hc huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(hc)
		if r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch {
			if err := acceptable(r, op.media); err != nil && r.ContentLength != 0 {
				problem.Write(w, r, err)
				return
			}
		}
		if op.body == nil && !empty(r.Body) {
			problem.Write(w, r, agentidp.InvalidFields(agentidp.FieldError{Field: "body", Reason: "must be empty: this operation takes none"}))
			return
		}
		next(hc)
	}
}

// empty reports whether a body ends before its first byte.
func empty(body io.Reader) bool {
	_, err := io.ReadFull(body, make([]byte, 1))
	return errors.Is(err, io.EOF)
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

// huma asks the two hooks for every error that it answers: its own refusals of
// a request's shape, and what handlers return. What it says of a member comes
// from the texts.
func init() {
	huma.ValidateStrictCasing = true  // JSON names are exact: "Name" is not "name"
	huma.DefaultArrayNullable = false // no list that this API answers is null
	validation.MsgUnexpectedProperty = "is unknown here, or read-only; leave it out"
	validation.MsgExpectedBoolean = "must be true or false"
	validation.MsgExpectedNumber = "must be a number"
	validation.MsgExpectedInteger = "must be a whole number"
	validation.MsgExpectedString = "must be a string"
	validation.MsgExpectedArray = "must be an array"
	validation.MsgExpectedObject = "must be a JSON object"
	validation.MsgExpectedRFC3339DateTime = "must be an instant as in RFC 3339, such as 2030-01-31T12:00:00Z"
	validation.MsgExpectedOneOf = "must be one of: %s"
	validation.MsgExpectedMinimumNumber = "must be at least %.0f"
	validation.MsgExpectedMaximumNumber = "must be at most %.0f"
	validation.MsgExpectedMinLength = "must be at least %d characters long"
	validation.MsgExpectedMaxLength = "must be at most %d characters long"
	validation.MsgExpectedMinItems = "must have at least %d elements"
	validation.MsgExpectedMaxItems = "must have at most %d elements"

	huma.NewError = func(int, string, ...error) huma.StatusError { return &problem.Document{} } // the schema's example
	huma.NewErrorWithContext = func(hc huma.Context, status int, msg string, errs ...error) huma.StatusError {
		r, w := humago.Unwrap(hc)
		e := problem.Note(r.Context(), translate(status, msg, errs))
		problem.SetHeaders(w.Header(), e)
		problem.Lead(r.Context(), w.Header(), e)
		return problem.New(e, problem.RequestID(r.Context()))
	}
}

// translate turns huma's account of an error into ours. What huma quotes of the
// request is dropped: a body may hold a token.
func translate(status int, msg string, errs []error) error {
	switch status {
	case http.StatusInternalServerError:
		if msg == "cannot read request body" { // the client left, or broke the framing
			return agentidp.InvalidFields(agentidp.FieldError{Field: "body", Reason: "could not be read"})
		}
		if len(errs) == 1 {
			return errs[0] // what a handler returned
		}
	case http.StatusRequestEntityTooLarge:
		return tooLarge()
	case http.StatusNotAcceptable:
		return agentidp.InvalidFields(agentidp.FieldError{Field: "Accept", Reason: "this API answers application/json"})
	case http.StatusRequestTimeout:
		return agentidp.InvalidFields(agentidp.FieldError{Field: "body", Reason: "took too long to arrive"})
	}
	var details []agentidp.FieldError
	named := map[string]bool{} // there may be as many as fit in a body
	for _, err := range errs {
		d, ok := err.(huma.ErrorDetailer)
		if !ok {
			continue
		}
		detail := d.ErrorDetail()
		e := agentidp.FieldError{Field: repeatable(field(detail)), Reason: reason(detail.Message)}
		if e.Field == "body" { // it could not be read, so nothing in it is missing or wrong
			return agentidp.InvalidFields(e)
		}
		if !named[e.Field] {
			named[e.Field] = true
			details = append(details, e)
		}
	}
	if len(details) == 0 {
		details = []agentidp.FieldError{{Field: "body", Reason: reason(msg)}}
	}
	return agentidp.InvalidFields(details...)
}

// found gives huma bad fields of a body or query that it did not find itself.
func found(in string, bad []agentidp.FieldError) []error {
	errs := make([]error, len(bad))
	for i, b := range bad {
		errs[i] = &huma.ErrorDetail{Location: in + "." + b.Field, Message: b.Reason}
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
	for _, prefix := range []string{required, unreadable} {
		if name, ok := strings.CutPrefix(d.Message, prefix); ok {
			name, _, _ = strings.Cut(name, " ")
			return name
		}
	}
	return d.Location
}

// repeatable returns a field's name, unless it is one that a caller made up and that may be
// a token or secret in the wrong place, which are all longer.
func repeatable(name string) string {
	const most = 64
	if len(name) > most || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "(a name that is not repeated here)"
	}
	return name
}

// What precedes a member's name where huma can report only the whole body.
const (
	required   = "expected required property "
	unreadable = "unreadable member "
)

// reason gives what is wrong with a field in the words that its caller reads.
func reason(message string) string {
	switch {
	case strings.HasPrefix(message, required):
		return "is required"
	case strings.HasPrefix(message, unreadable):
		return "is not in a form that can be read; write whole numbers in digits alone"
	case strings.HasPrefix(message, "invalid date/time"):
		return validation.MsgExpectedRFC3339DateTime + "; in a URL, write + as %2B"
	}
	switch message {
	case validation.MsgExpectedMatchExactlyOneSchema: // the values of claims are all that has several forms
		return "must be a string or a list of strings; write numbers and booleans as strings"
	case "must be at least 1 characters long":
		return "is empty; give a value or leave it out"
	case "must have at least 1 elements":
		return "is empty; leave it out for the default, or name at least one"
	case "request body is required":
		return "is missing; send a JSON object"
	case "unknown query parameter":
		return "is unknown here; leave it out"
	case "invalid boolean":
		return "must be true or false"
	case "invalid integer":
		return "must be a whole number"
	}
	return message
}

// readable rewords the error of a JSON body that has the right types and still
// does not fit, such as 6e1 for a whole number.
func readable(err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return errors.New(unreadable + cmp.Or(e.Field, "body")) // of 1e400 it is not known where it stands
	}
	return err
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
