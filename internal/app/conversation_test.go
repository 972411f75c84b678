package app

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestConversations holds the conversations in testdata against the server: what
// is asked, and what is answered. A file is a list of exchanges, separated by empty
// lines:
//
//	# A comment.
//	admin> POST /api/v1/agents
//	If-Match: "1"                    headers of the request
//	{"name": "a@ci.acme.example"}    its body, on one line or more
//	201                              the status
//	ETag: "1"                        headers of the answer
//	{"agentId": "${agent}"}          members of its body
//
// Before the > stand the scopes of an admin token, or "nobody", "bootstrap" (a token
// for a push to main of acme/deploy, exchanged at its first use), or a ${name} that is
// a token. ${name} stands for
// anything where it appears first, and from then on for what it was; ${url} is the
// organization's issuer, ${issuer} the CI's, and ${token acme/deploy main} a new subject
// token for a push to that branch; further claims may follow, such as environment=prod.
// ${workload build team=ops} is one of the provider cluster, which only files that say so
// have: with that subject and these further claims, of which kubernetes.io/uid=x is one
// within an object.
// An object of the answer may have more members than are told, and null says
// that a member is not there; a list has exactly the elements that are told.
func TestConversations(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			newWorld(t).converse(file)
		})
	}
}

// converse holds one conversation against the server.
func (w *world) converse(file string) {
	w.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	c := &conversation{world: w, tokens: map[string]string{"nobody": ""}, known: map[string]string{"url": w.url, "issuer": w.issuer}}
	if workloadToken.Match(text) {
		c.cluster = newCluster(w, "cluster")
	}
	line := 1
	for part := range strings.SplitSeq(string(text), "\n\n") {
		c.at = fmt.Sprintf("%s:%d", filepath.Base(file), line)
		c.say(part)
		line += strings.Count(part, "\n") + 2
	}
}

type conversation struct {
	*world
	at      string
	tokens  map[string]string // by who
	known   map[string]string // values of ${name}
	cluster *cluster
}

// turn is one request and its answer, as told.
type turn struct {
	who, method, path string
	headers           []string // names and values
	body              string
	status            int
	wantHeaders       []string
	want              string
}

var firstLine = regexp.MustCompile(`^([^>]+)> ([A-Z]+) (\S+)$`)

// parse reads one part of a file; nil is a part of comments.
func (c *conversation) parse(part string) *turn {
	c.t.Helper()
	r := &turn{}
	for line := range strings.SplitSeq(strings.Trim(part, "\n"), "\n") {
		first := firstLine.FindStringSubmatch(line)
		name, value, isHeader := strings.Cut(line, ": ")
		headers, body := &r.headers, &r.body
		if r.status != 0 {
			headers, body = &r.wantHeaders, &r.want
		}
		switch {
		case strings.HasPrefix(line, "#") || line == "":
		case first != nil && r.method == "":
			r.who, r.method, r.path = first[1], first[2], c.fill(first[3])
		case r.method == "":
			c.t.Fatalf("%s: %q is no request", c.at, line)
		case r.status == 0 && regexp.MustCompile(`^[1-5]\d\d$`).MatchString(line):
			r.status, _ = strconv.Atoi(line)
		case isHeader && *body == "" && !strings.ContainsAny(name, "{\" "):
			*headers = append(*headers, name, value)
		default:
			*body += line
		}
	}
	if r.method == "" {
		return nil
	}
	return r
}

func (c *conversation) say(part string) {
	c.t.Helper()
	r := c.parse(part)
	if r == nil {
		return
	}
	var body any
	if r.body != "" {
		body = c.fill(r.body)
	}
	a := c.do(r.method, r.path, c.token(r.who), body, r.headers...)
	if a.Status != r.status {
		c.t.Fatalf("%s: status %d, want %d\n%s", c.at, a.Status, r.status, jwtPattern.ReplaceAll(a.Raw, []byte("(a secret)")))
	}
	if oauth := strings.HasPrefix(r.path, "/oauth2/") && a.str("error") != ""; a.Status >= 400 && !oauth {
		c.isProblem(a)
	}
	for i := 0; i < len(r.wantHeaders); i += 2 {
		c.match(r.wantHeaders[i], r.wantHeaders[i+1], a.Header.Get(r.wantHeaders[i]))
	}
	if r.want == "" {
		return
	}
	var want, got any
	if err := json.Unmarshal([]byte(r.want), &want); err != nil {
		c.t.Fatalf("%s: what is wanted is no JSON: %v", c.at, err)
	}
	if err := json.Unmarshal(a.Raw, &got); err != nil {
		c.t.Fatalf("%s: %v\n%s", c.at, err, a.Raw)
	}
	c.match("", want, got)
	if c.t.Failed() {
		c.t.Fatalf("%s: the answer was\n%s", c.at, jwtPattern.ReplaceAll(a.Raw, []byte("(a secret)")))
	}
}

// token returns the token of whoever speaks.
func (c *conversation) token(who string) string {
	c.t.Helper()
	token, ok := c.tokens[who]
	switch {
	case ok:
	case strings.HasPrefix(who, "$"):
		return c.fill(who)
	case who == "bootstrap":
		token = c.bootstrap(nil)
	default:
		token = c.admin(strings.Fields(who)...)
	}
	c.tokens[who] = token
	return token
}

var variable = regexp.MustCompile(`\$\{(\w+)\}`)

var subjectToken = regexp.MustCompile(`\$\{token (\S+) (\S+?)((?: \w+=\S+?)*)\}`)

var workloadToken = regexp.MustCompile(`\$\{workload (\S+?)((?: [\w./]+=\S+?)*)\}`)

// fill puts in what is known.
func (c *conversation) fill(s string) string {
	s = subjectToken.ReplaceAllStringFunc(s, func(v string) string {
		c.clock.advance(time.Millisecond) // records of one millisecond have no order
		run := subjectToken.FindStringSubmatch(v)
		return c.mint(claims{"repository": run[1], "ref": "refs/heads/" + run[2]}, further(run[3]))
	})
	s = workloadToken.ReplaceAllStringFunc(s, func(v string) string {
		c.clock.advance(time.Millisecond)
		of := workloadToken.FindStringSubmatch(v)
		return c.cluster.token(of[1], further(of[2]))
	})
	return variable.ReplaceAllStringFunc(s, func(v string) string {
		if value, ok := c.known[v[2:len(v)-1]]; ok {
			return value
		}
		return v
	})
}

// further reads claims that are told as name=value, or object/name=value.
func further(s string) claims {
	more := claims{}
	for _, claim := range strings.Fields(s) {
		name, value, _ := strings.Cut(claim, "=")
		within := more
		for object, rest, nested := strings.Cut(name, "/"); nested; object, rest, nested = strings.Cut(rest, "/") {
			inner := claims{}
			within[object], within, name = inner, inner, rest
		}
		within[name] = value
	}
	return more
}

// match holds what came against what is wanted, and learns.
func (c *conversation) match(where string, want, got any) {
	c.t.Helper()
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			c.t.Errorf("%s: %s is %v, want an object", c.at, where, got)
			return
		}
		for name, value := range want {
			c.match(where+"."+name, value, object[name])
		}
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			c.t.Errorf("%s: %s is %v, want %d elements", c.at, where, got, len(want))
			return
		}
		for i := range want {
			c.match(fmt.Sprintf("%s[%d]", where, i), want[i], list[i])
		}
	case string:
		s, ok := got.(string)
		if !ok || !c.learn(want, s) {
			c.t.Errorf("%s: %s is %v, want %q", c.at, where, got, c.fill(want))
		}
	default:
		if !reflect.DeepEqual(want, got) {
			c.t.Errorf("%s: %s is %v, want %v", c.at, where, got, want)
		}
	}
}

// learn reports whether s has the form of want, and remembers what stands in the
// places that are not known yet. ${_} is never known.
func (c *conversation) learn(want, s string) bool {
	want = c.fill(want)
	pattern, at := "^", 0
	var names []string
	for _, place := range variable.FindAllStringSubmatchIndex(want, -1) {
		pattern += regexp.QuoteMeta(want[at:place[0]]) + "(.+)"
		names = append(names, want[place[2]:place[3]])
		at = place[1]
	}
	found := regexp.MustCompile(pattern + regexp.QuoteMeta(want[at:]) + "$").FindStringSubmatch(s)
	if found == nil {
		return false
	}
	for i, name := range names {
		if name != "_" {
			c.known[name] = found[i+1]
		}
	}
	return true
}
