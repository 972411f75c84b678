package client

import (
	"iter"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
)

// pages serves a list of agents of three pages, by cursor.
func pages(t *testing.T, bodies map[string]string) (*Client, *[]string) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.RawQuery)
		body, ok := bodies[r.URL.Query().Get("cursor")]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	return &Client{BaseURL: server.URL, Token: "t"}, &asked
}

func names(agents iter.Seq2[*agentidp.Agent, error], atMost int) (got []string) {
	for agent, err := range agents {
		if err != nil {
			return append(got, err.Error())
		}
		if got = append(got, agent.Name); len(got) == atMost {
			break
		}
	}
	return got
}

func TestAListIsReadPageByPageAsFarAsItIsNeeded(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		bodies map[string]string
		atMost int
		want   []string
		pages  int
	}{
		{"to its end", map[string]string{"": `{"items":[{"name":"a"},{"name":"b"}],"nextCursor":"2"}`, "2": `{"items":[],"nextCursor":"3"}`, "3": `{"items":[{"name":"c"}]}`}, 9, []string{"a", "b", "c"}, 3},
		{"no further than asked", map[string]string{"": `{"items":[{"name":"a"},{"name":"b"}],"nextCursor":"2"}`}, 2, []string{"a", "b"}, 1},
		{"to the first error", map[string]string{"": `{"items":[{"name":"a"}],"nextCursor":"2"}`}, 9, []string{"a", "The server answered 404"}, 2},
		{"and not for ever", map[string]string{"": `{"items":[{"name":"a"}],"nextCursor":"2"}`, "2": `{"items":[{"name":"b"}],"nextCursor":"2"}`}, 9, []string{"a", "the list does not go on"}, 2},
		{"also when there is nothing", map[string]string{"": `{"items":[]}`}, 9, nil, 1},
	} {
		c, asked := pages(t, test.bodies)
		got := names(c.AllAgents(t.Context(), agentidp.AgentFilter{Status: agentidp.AgentActive}), test.atMost)
		if len(*asked) != test.pages || !slices.EqualFunc(got, test.want, strings.Contains) {
			t.Errorf("%s: got %q of pages %q, want %q of %d", test.name, got, *asked, test.want, test.pages)
		}
		for _, query := range *asked {
			if !strings.Contains(query, "limit=200") || !strings.Contains(query, "status=active") {
				t.Errorf("%s: asked for %s", test.name, query)
			}
		}
	}
}

// Whatever is listed by pages can be gone through as a whole, with the same filter.
func TestEveryListHasAnIterator(t *testing.T) {
	t.Parallel()
	client := reflect.TypeFor[*Client]()
	lists := 0
	for m := range client.Methods() {
		noun, isList := strings.CutPrefix(m.Name, "List")
		if !isList || m.Type.In(m.Type.NumIn()-1) != reflect.TypeFor[ListOptions]() {
			continue
		}
		lists++
		iterator, ok := client.MethodByName("All" + noun)
		if !ok {
			t.Errorf("there is %s, and no All%s", m.Name, noun)
			continue
		}
		for i := range iterator.Type.NumIn() {
			if iterator.Type.In(i) != m.Type.In(i) {
				t.Errorf("All%s takes %v where %s takes %v", noun, iterator.Type.In(i), m.Name, m.Type.In(i))
			}
		}
	}
	if lists < 5 {
		t.Errorf("only %d lists were found", lists)
	}
}
