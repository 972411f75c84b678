package openapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"pgregory.net/rapid"
)

// generator draws requests: most of them right, so that something is created and
// found again, and the others wrong in one place.
type generator struct {
	*rapid.T
	*server
	op *operation
}

// request is one to be sent.
type request struct {
	http *http.Request
	path map[string]string
	body []byte
	op   *operation
	s    *server
}

func (g *generator) oneIn(n int, label string) bool {
	return fair(g.T, n, label) == n-1
}

func (g *generator) request(op *operation) *request {
	req := &request{path: map[string]string{}, op: op, s: g.server}
	query, header, path := url.Values{}, http.Header{}, op.path
	for _, ref := range op.Parameters {
		if p := ref.Value; p.In == "path" {
			req.path[p.Name] = g.known(op.path, p.Name)
		}
	}
	if owner := g.owners[req.path["credentialId"]]; owner != "" && !g.oneIn(8, "another's credential") {
		req.path["agentId"] = owner
	}
	for name, value := range req.path {
		path = strings.Replace(path, "{"+name+"}", url.PathEscape(value), 1)
	}
	for _, ref := range op.Parameters {
		p := ref.Value
		switch p.In {
		case "query":
			if p.Required || g.oneIn(4, "with "+p.Name) {
				query.Set(p.Name, fmt.Sprint(g.scalar(p.Schema.Value, p.Name)))
			}
		case "header":
			value := ""
			switch {
			case p.Name == "If-Match":
				value = g.ifMatch(req.path)
			case g.oneIn(10, "with "+p.Name):
				value = "none that is good"
			}
			if value != "" {
				header.Set(p.Name, value)
			}
		}
	}
	if g.oneIn(20, "with a strange parameter") {
		query.Set("strange", "1")
	}
	var body io.Reader
	if op.RequestBody != nil {
		media := rapid.SampledFrom(slices.Sorted(maps.Keys(op.RequestBody.Value.Content))).Draw(g.T, "media type")
		object := g.object(op.RequestBody.Value.Content[media].Schema.Value)
		if op.method == http.MethodPut {
			object = g.changed(object, req.path)
		}
		req.body = g.body(object)
		body = bytes.NewReader(req.body)
		header.Set("Content-Type", media)
	}
	if token := g.bearer(); token != "" && op.Security != nil && len(*op.Security) > 0 {
		header.Set("Authorization", "Bearer "+token)
	}
	target := g.url + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var err error
	if req.http, err = http.NewRequest(op.method, target, body); err != nil {
		g.Fatal(err)
	}
	req.http.Header = header
	return req
}

// bearer is mostly the administrator's token.
func (g *generator) bearer() string {
	switch rapid.IntRange(0, 12).Draw(g.T, "caller") { // a drawn token would be printed with a failure
	case 10:
		return ""
	case 11:
		return "nonsense"
	case 12:
		return g.auditor
	}
	return g.admin
}

// ifMatch is mostly the revision that the thing has.
func (g *generator) ifMatch(path map[string]string) string {
	current := ""
	for _, id := range path {
		if revision, ok := g.revisions[id]; ok {
			current = fmt.Sprintf("%q", fmt.Sprint(revision))
		}
	}
	return rapid.SampledFrom([]string{current, current, current, current, `"999"`, "", "1"}).Draw(g.T, "If-Match")
}

// known is mostly something that was created.
func (g *generator) known(path, name string) string {
	collection, _, _ := strings.Cut(strings.TrimPrefix(path, "/api/v1/"), "/{")
	if name == "credentialId" {
		collection = credentials
	}
	all := g.ids[collection]
	switch {
	case g.op.id == "deleteCredential" || g.op.id == "deleteProvider":
		all = all[:max(0, len(all)-5)] // some are left to be rotated and tested
	case (g.op.id == "createCredential" || g.op.id == "updateAgent") && !g.oneIn(8, "of an agent that has ended"):
		all = slices.DeleteFunc(slices.Clone(all), func(id string) bool { return g.ended[id] })
	}
	if len(all) > 0 && !g.oneIn(8, "unknown "+name) {
		return all[len(all)-1-rapid.IntRange(0, min(len(all), 10)-1).Draw(g.T, name)]
	}
	return rapid.SampledFrom([]string{"01980000-0000-7000-8000-000000000000", "nobody", "A B", "%2e%2e", "ſ"}).Draw(g.T, name)
}

// changed is what something was created with, now and then with one member of another
// body.
func (g *generator) changed(object map[string]any, path map[string]string) map[string]any {
	for _, id := range path {
		if created := g.bodies[id]; created != nil {
			was := maps.Clone(created)
			if !g.oneIn(3, "changed") {
				return was
			}
			name := rapid.SampledFrom(slices.Sorted(maps.Keys(object))).Draw(g.T, "changed member")
			was[name] = object[name]
			return was
		}
	}
	return object
}

// body is an object as JSON, now and then with one fault.
func (g *generator) body(object map[string]any) []byte {
	names := slices.Sorted(maps.Keys(object))
	if g.oneIn(4, "faulty body") {
		switch fault := rapid.IntRange(0, 4).Draw(g.T, "fault"); {
		case fault == 0 || len(names) == 0:
			object["strange"] = 1
		case fault == 1:
			delete(object, rapid.SampledFrom(names).Draw(g.T, "left out"))
		case fault == 2:
			object[rapid.SampledFrom(names).Draw(g.T, "null")] = nil
		case fault == 3:
			object[rapid.SampledFrom(names).Draw(g.T, "a number")] = 7.5
		default:
			object[rapid.SampledFrom(names).Draw(g.T, "a list")] = []any{[]any{}}
		}
	}
	doc, err := json.Marshal(object)
	if err != nil {
		g.Fatal(err)
	}
	return doc
}

func (g *generator) object(schema *openapi3.Schema) map[string]any {
	object := map[string]any{}
	some := max(4, len(schema.Properties)/3) // of many members few, or they hardly ever go together
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		property := schema.Properties[name].Value
		// A provider of the default kind needs an issuer that answers, and a policy
		// without repository needs claims.
		needed := slices.Contains(schema.Required, name) || name == "kind" || name == "repository"
		if property.ReadOnly || !needed && !g.oneIn(some, "with "+name) {
			continue
		}
		object[name] = g.value(property, name)
	}
	// Of a credential, the type says whether there are keys.
	if keys := schema.Properties["jwks"]; keys != nil && schema.Properties["type"] != nil && !g.oneIn(8, "keys whatever the type") {
		delete(object, "jwks")
		if object["type"] == "public_key" {
			object["jwks"] = g.value(keys.Value, "jwks")
		}
	}
	// Of a question, there is a token or there are claims.
	if schema.Properties["token"] != nil && schema.Properties["claims"] != nil && !g.oneIn(8, "whatever is asked about") {
		delete(object, "claims")
		delete(object, "provider")
		object["token"] = g.value(schema.Properties["token"].Value, "token")
	}
	return object
}

func (g *generator) value(schema *openapi3.Schema, name string) any {
	switch {
	case name == "jwks" && !g.oneIn(4, "odd jwks"):
		return map[string]any{"keys": []any{map[string]any{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}}
	case len(schema.OneOf) > 0:
		return g.value(rapid.SampledFrom(schema.OneOf).Draw(g.T, "form of "+name).Value, name)
	case len(schema.AnyOf) > 0:
		return g.value(rapid.SampledFrom(schema.AnyOf).Draw(g.T, "form of "+name).Value, name)
	case schema.Type.Is("null"):
		return nil
	case schema.Type.Includes("array"):
		list := []any{}
		for range rapid.IntRange(0, 2).Draw(g.T, "length of "+name) {
			list = append(list, g.value(schema.Items.Value, name))
		}
		return list
	case schema.Type.Includes("object") && len(schema.Properties) > 0:
		return g.object(schema)
	case schema.Type.Includes("object"):
		object := map[string]any{}
		for i := range rapid.IntRange(0, 2).Draw(g.T, "size of "+name) {
			member := any("x")
			if schema.AdditionalProperties.Schema != nil {
				member = g.value(schema.AdditionalProperties.Schema.Value, name)
			}
			object[fmt.Sprint("key", i)] = member
		}
		return object
	}
	return g.scalar(schema, name)
}

func (g *generator) scalar(schema *openapi3.Schema, name string) any {
	if name == "name" && strings.Contains(g.op.path, "/providers") {
		name = "name of a provider"
	}
	if len(schema.Enum) > 0 && !g.oneIn(10, "other than "+name) {
		return rapid.SampledFrom(schema.Enum).Draw(g.T, name)
	}
	if plausible := g.plausible(name); len(plausible) > 0 && !g.oneIn(8, "odd "+name) {
		return plausible[rapid.IntRange(0, len(plausible)-1).Draw(g.T, name)]
	}
	switch {
	case schema.Type.Includes("boolean"):
		return rapid.Bool().Draw(g.T, name)
	case schema.Type.Includes("integer"):
		return rapid.IntRange(-1, 4000).Draw(g.T, name)
	case schema.Format == "date-time":
		return rapid.SampledFrom([]string{"2020-01-31T12:00:00Z", "2999-01-31T12:00:00+01:00", "yesterday"}).Draw(g.T, name)
	}
	return rapid.StringN(0, 12, 40).Draw(g.T, name)
}

// send sends the request and remembers what was created.
func (r *request) send(t *rapid.T) (int, *answer) {
	resp, err := http.DefaultClient.Do(r.http)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	r.s.learn(r, resp.StatusCode, body)
	return resp.StatusCode, &answer{resp.Header, body}
}

// shown is the request as a failure shows it, without its tokens.
func (r *request) shown() string {
	text := fmt.Sprintf("If-Match %q, body %s", r.http.Header.Get("If-Match"), r.body)
	for _, secret := range r.s.secrets {
		text = strings.ReplaceAll(text, secret, "(a token)")
	}
	return text
}
