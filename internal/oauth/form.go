package oauth

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sentryagent/agentidp"
)

const (
	mediaForm = "application/x-www-form-urlencoded"
	maxForm   = 64 << 10 // bytes
)

// readForm returns the parameters of a request's body (RFC 6749 §3.2): in the body
// alone, none twice but those that are repeatable. One without a value is as if it were
// not there, and unknown ones are for the caller to ignore.
func readForm(w http.ResponseWriter, r *http.Request, repeatable ...string) (url.Values, error) {
	if err := isForm(r); err != nil {
		return nil, err
	}
	if r.URL.RawQuery != "" { // RFC 6750 §2.3: a token in a URL ends up in logs
		return nil, agentidp.InvalidFields(agentidp.FieldError{Field: "query", Reason: "is not read here; send everything in the body"})
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, agentidp.NewError(agentidp.TooLarge, agentidp.CodePayloadTooLarge, "The body is larger than 64 KiB.")
	}
	if err != nil {
		return nil, badForm("could not be read")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil { // its text repeats the body
		return nil, badForm("is not a form: names and values are percent-encoded and separated by &")
	}
	for name, values := range form {
		if len(values) > 1 && !slices.Contains(repeatable, name) {
			return nil, badForm("has " + named(name) + " more than once; send each once")
		}
	}
	return form, nil
}

func isForm(r *http.Request) error {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	good := err == nil && media == mediaForm && len(r.Header.Values("Content-Type")) == 1 && r.Header.Get("Content-Encoding") == ""
	for name, value := range params {
		good = good && name == "charset" && strings.EqualFold(value, "utf-8")
	}
	if !good {
		return agentidp.NewError(agentidp.UnsupportedMedia, agentidp.CodeUnsupportedMediaType,
			"Send the body as Content-Type: "+mediaForm+", in UTF-8 and without Content-Encoding.")
	}
	return nil
}

// named is what a parameter is called where anybody may have made up its name: by that as
// far as it is short and printable.
func named(name string) string {
	const longest = 40 // bytes; the longest that is known here has 21
	if name == "" || len(name) > longest || strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "a parameter"
	}
	return "the parameter " + name
}

func badForm(reason string) error {
	return agentidp.InvalidFields(agentidp.FieldError{Field: "body", Reason: reason})
}

func badParameter(name, reason string) error {
	return agentidp.InvalidFields(agentidp.FieldError{Field: name, Reason: reason})
}

// textParameters are those that may end up in a record or an answer.
var textParameters = []string{"agent_id", "client_id", "scope", "resource", "audience"}

// isText reports whether a value is what a database keeps as text. A form may hold any
// bytes.
func isText(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }
