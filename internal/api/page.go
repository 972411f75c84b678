package api

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// The document as a page for people. It is one file: no script, nothing fetched from
// elsewhere, so the policy for its content can forbid all but its own style.

//go:embed page.html
var pageHTML string

const pageStyle = `body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}` +
	`h1 small{color:#666;font-weight:normal}h2{font-size:1.1rem;margin:2.5rem 0 .3rem;font-family:ui-monospace,monospace;font-weight:normal;border-top:1px solid #ddd;padding-top:1rem}` +
	`nav a{display:block;font-family:ui-monospace,monospace}b{display:inline-block;min-width:4.5rem;color:#0a5}a{color:#0645ad;text-decoration:none}a:hover{text-decoration:underline}` +
	`table{border-collapse:collapse;width:100%}td{vertical-align:top;padding:.2rem 1rem .2rem 0;border-bottom:1px solid #eee}td:nth-child(2){white-space:nowrap;color:#555}` +
	`@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}h2,td{border-color:#333}a{color:#7ab7ff}b{color:#5d9}td:nth-child(2){color:#999}}`

// pagePolicy admits the style by its hash.
var pagePolicy = func() string {
	sum := sha256.Sum256([]byte(pageStyle))
	return "default-src 'none'; frame-ancestors 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}()

type (
	page struct {
		Version, Description string
		Style                template.CSS
		Operations           []pageOperation
		Schemas              []pageSchema
	}
	pageOperation struct {
		ID, Method, Path, Summary, Description, Request, Refusals string
		Scopes                                                    []string // each suffices
		Answers                                                   []pageAnswer
		Parameters                                                []pageField
	}
	pageAnswer struct{ Status, Body string }
	pageSchema struct {
		Name   string
		Fields []pageField
	}
	pageField struct {
		Name, Type, Link, Doc string
		Required              bool
	}
)

// renderPage makes the page of the document.
func renderPage(doc *huma.OpenAPI) ([]byte, error) {
	p := page{Version: doc.Info.Version, Description: doc.Info.Description, Style: template.CSS(pageStyle)} //nolint:gosec // G203: a constant of ours
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		item := doc.Paths[path]
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op != nil {
				p.Operations = append(p.Operations, newPageOperation(op))
			}
		}
	}
	schemas := doc.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		p.Schemas = append(p.Schemas, pageSchema{name, pageFields(schemas[name])})
	}
	tmpl, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = tmpl.Execute(&out, p)
	return out.Bytes(), err
}

func newPageOperation(op *huma.Operation) pageOperation {
	o := pageOperation{ID: op.OperationID, Method: op.Method, Path: op.Path, Summary: strings.TrimSuffix(op.Summary, "."), Description: op.Description}
	for _, requirement := range op.Security {
		o.Scopes = append(o.Scopes, requirement["bearer"]...)
	}
	for _, param := range op.Parameters {
		f := newPageField(param.Name, param.Schema, param.Required)
		f.Doc = cmp.Or(param.Description, f.Doc)
		o.Parameters = append(o.Parameters, f)
	}
	if op.RequestBody != nil {
		o.Request = bodyName(op.RequestBody.Content)
	}
	var refusals []string
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		if status >= "400" {
			refusals = append(refusals, status)
			continue
		}
		o.Answers = append(o.Answers, pageAnswer{status, bodyName(op.Responses[status].Content)})
	}
	o.Refusals = strings.Join(refusals, " ")
	return o
}

// bodyName is the name of a body's schema, which is the same for all its media types.
func bodyName(content map[string]*huma.MediaType) string {
	for _, media := range content {
		return refName(media.Schema)
	}
	return ""
}

func refName(s *huma.Schema) string { return s.Ref[strings.LastIndexByte(s.Ref, '/')+1:] }

func pageFields(s *huma.Schema) (fields []pageField) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		fields = append(fields, newPageField(name, s.Properties[name], slices.Contains(s.Required, name)))
	}
	return fields
}

func newPageField(name string, s *huma.Schema, required bool) pageField {
	f := pageField{Name: name, Type: s.Type, Doc: s.Description, Required: required}
	of := s
	if s.Items != nil {
		of, f.Type = s.Items, "list of "+s.Items.Type
	}
	if of.Ref != "" {
		f.Link = refName(of)
		f.Type += f.Link
	}
	var values []string
	for _, v := range s.Enum {
		if v != nil && !reflect.ValueOf(v).IsZero() {
			values = append(values, fmt.Sprint(v))
		}
	}
	if values != nil {
		f.Type = strings.Join(values, ", ")
	}
	return f
}

// servePage answers with the page under its own policy.
func servePage(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", pagePolicy)
		next(w, r)
	}
}
