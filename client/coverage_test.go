package client

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// methodOf has the operations of the API whose method is not called as they are.
var methodOf = map[string]string{
	"exchangeToken":    "Exchange",
	"repinTrustPolicy": "Repin",
}

// Every operation of the document has a method that sends its request.
func TestTheWholeAPIIsCovered(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../api/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(raw, &document); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for path, item := range document.Paths {
		for method, raw := range item {
			var operation struct {
				ID string `json:"operationId"`
			}
			if json.Unmarshal(raw, &operation) != nil || operation.ID == "" {
				continue // parameters of all operations, a description
			}
			seen[operation.ID] = true
			t.Run(operation.ID, func(t *testing.T) {
				t.Parallel()
				name := cmp.Or(methodOf[operation.ID], strings.ToUpper(operation.ID[:1])+operation.ID[1:])
				got := requestOf(t, name)
				// A part of a path that is in braces is for the caller to fill in.
				template := regexp.MustCompile(`\\\{[^/]+\\\}`).ReplaceAllString(regexp.QuoteMeta(path), "[^/]+")
				want := regexp.MustCompile("^" + strings.ToUpper(method) + " " + template + "$")
				if !want.MatchString(got) {
					t.Errorf("Client.%s sends %s, want %s %s", name, got, strings.ToUpper(method), path)
				}
			})
		}
	}
	for id := range methodOf {
		if !seen[id] {
			t.Errorf("the document has no operation %s any more", id)
		}
	}
	if len(seen) < 19 {
		t.Errorf("only %d operations were found", len(seen))
	}
}

// requestOf calls a method with an id wherever it takes a string, and returns the method
// and path of its request.
func requestOf(t *testing.T, name string) string {
	t.Helper()
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Method + " " + r.URL.Path
		w.WriteHeader(http.StatusBadRequest) // enough was seen
	}))
	defer server.Close()
	method := reflect.ValueOf(&Client{BaseURL: server.URL, Token: "t"}).MethodByName(name)
	if !method.IsValid() {
		t.Fatalf("there is no Client.%s", name)
	}
	var args []reflect.Value
	for in := range method.Type().Ins() {
		arg := reflect.New(in).Elem()
		switch {
		case in == reflect.TypeFor[context.Context]():
			arg = reflect.ValueOf(t.Context())
		case in.Kind() == reflect.String:
			arg.SetString(agentID)
		case in == reflect.TypeFor[ExchangeRequest]():
			arg = reflect.ValueOf(ExchangeRequest{Token: "ci"})
		case in.Kind() == reflect.Pointer:
			arg.Set(reflect.New(in.Elem()))
		}
		args = append(args, arg)
	}
	method.Call(args)
	return got
}
