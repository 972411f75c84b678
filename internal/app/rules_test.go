package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/sentryagent/agentidp"
)

// rules are what holds of every answer of every server of these tests, over whatever
// connection the request came: they stand around its handler. An answer
//
//   - is never to be stored, but for the public documents;
//   - repeats no token, proof or secret that its request had, nor the master key;
//   - has a token only where one was granted, and a client's secret only where it was made;
//   - says nothing of a CI's token whose signature is not proven.
type rules struct {
	mu     sync.Mutex
	master string // the master key
	broken []string
}

// guard says what the master key is.
func (r *rules) guard(master string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.master = master
}

// shows reports whether a text has the master key.
func (r *rules) shows(text []byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.master != "" && bytes.Contains(text, []byte(r.master))
}

// take returns what was broken since, and forgets it.
func (r *rules) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	broken := r.broken
	r.broken = nil
	return broken
}

// overhears is how much of a request and of its answer the rules look at.
const overhears = 256 << 10

// around returns a handler that holds each answer of another against the rules.
func (r *rules) around(handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		sent, said := &limited{}, &overheard{ResponseWriter: w}
		method, path, header := req.Method, req.URL.Path, req.Header.Clone()
		read := req.WithContext(req.Context()) // net/http looks at the body of its own
		if req.Body != nil {
			read.Body = teed{req.Body, sent}
		}
		handler.ServeHTTP(said, read)
		for _, broken := range r.judge(method, path, header, sent.bytes(), said) {
			r.mu.Lock()
			r.broken = append(r.broken, fmt.Sprintf("%s %.100q, answered with %d: %s", method, path, said.status, broken))
			r.mu.Unlock()
		}
	})
}

var (
	document200 = regexp.MustCompile(`/\.well-known/|/oauth2/jwks$|/api/v1/(openapi\.(json|yaml)|trust-policies\.schema\.json|docs)$`)
	tokenPaths  = regexp.MustCompile(`/oidc/token$|/oauth2/(token|introspect|revoke)$`)
	grantPaths  = regexp.MustCompile(`/oidc/token$|/oauth2/token$`)
	makesSecret = regexp.MustCompile(`/credentials(/[^/]+/rotate)?$`)

	// Whatever is so long is no name in a request for a token, but a part of one.
	tokenPart = regexp.MustCompile(`[A-Za-z0-9_-]{44,}`)
)

func (r *rules) judge(method, path string, header http.Header, sent []byte, said *overheard) (broken []string) {
	answer, shown := said.body.bytes(), bytes.Clone(said.body.bytes())
	for name, values := range said.Header() {
		shown = append(shown, "\n"+name+": "+strings.Join(values, " ")...)
	}
	document := document200.MatchString(path) && (method == http.MethodGet || method == http.MethodHead) && (said.status == http.StatusOK || said.status == http.StatusNotModified)
	if got := said.Header().Get("Cache-Control"); got != "no-store" && !document {
		broken = append(broken, fmt.Sprintf("Cache-Control is %q", got))
	}
	for _, secret := range secretsIn(path, header, sent) {
		if bytes.Contains(shown, []byte(secret)) {
			broken = append(broken, fmt.Sprintf("it repeats %.6s… of its request (%d characters)", secret, len(secret)))
		}
	}
	if r.shows(shown) {
		broken = append(broken, "it has the master key")
	}
	granted := said.status == http.StatusOK && grantPaths.MatchString(path)
	made := (said.status == http.StatusCreated || said.status == http.StatusOK) && makesSecret.MatchString(path)
	if found := tokenIn(shown); found != nil && !granted && !made && !document {
		broken = append(broken, fmt.Sprintf("it has %.14s…", found))
	}
	if grantPaths.MatchString(path) {
		for _, name := range tooMuch(answer) {
			broken = append(broken, "it has "+name+", and nothing is proven")
		}
	}
	return broken
}

// secretsIn returns what a request had that its answer must not repeat.
func secretsIn(path string, header http.Header, body []byte) (all []string) {
	for _, name := range []string{"Authorization", "Dpop", "Cookie"} {
		for _, value := range header[name] {
			if _, credentials, ok := strings.Cut(value, " "); ok {
				value = credentials
			}
			if len(value) > 20 {
				all = append(all, value)
			}
		}
	}
	for _, found := range jwtPattern.FindAll(body, -1) {
		all = append(all, string(found))
	}
	if tokenPaths.MatchString(path) {
		for _, found := range tokenPart.FindAll(body, -1) {
			if !bytes.HasPrefix(found, []byte("eyJhbGciOi")) { // all of our own tokens begin with the same header
				all = append(all, string(found))
			}
		}
	}
	return all
}

// tokenIn returns the first token or secret in a text, or nil. Most have none, and that
// is seen at once: all answers of all tests come by here.
func tokenIn(text []byte) []byte {
	if !bytes.Contains(text, []byte("eyJ")) && !bytes.Contains(text, []byte("agentidp_cs_")) {
		return nil
	}
	return jwtPattern.Find(text)
}

// unprovenMembers are those that the answer to an unproven token may have.
var unprovenMembers = []string{"type", "title", "status", "detail", "code", "message", "request_id", "error", "error_description"}

// tooMuch returns the members of a refusal that whoever has proven nothing must not see.
func tooMuch(answer []byte) (names []string) {
	var said map[string]any
	if json.Unmarshal(answer, &said) != nil || said["code"] != agentidp.CodeInvalidToken || said["reason"] != nil {
		return nil
	}
	for name := range said {
		if !slices.Contains(unprovenMembers, name) {
			names = append(names, name)
		}
	}
	return names
}

// limited keeps the beginning of what is written to it.
type limited struct {
	mu sync.Mutex // a body may be read in one goroutine and looked at in another
	b  bytes.Buffer
}

func (l *limited) keep(p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b.Write(p[:min(len(p), overhears-l.b.Len())])
}

func (l *limited) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.b.Bytes())
}

// teed is a body of which is kept what is read.
type teed struct {
	io.ReadCloser
	kept *limited
}

func (t teed) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	t.kept.keep(p[:n])
	return n, err
}

// overheard is an answer on its way.
type overheard struct {
	http.ResponseWriter
	status int
	body   limited
}

func (o *overheard) WriteHeader(status int) {
	if o.status == 0 {
		o.status = status
	}
	o.ResponseWriter.WriteHeader(status)
}

func (o *overheard) Write(p []byte) (int, error) {
	if o.status == 0 {
		o.status = http.StatusOK
	}
	o.body.keep(p)
	return o.ResponseWriter.Write(p)
}

// Unwrap gives http.ResponseController the connection.
func (o *overheard) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// abides reports what was broken so far.
func (w *world) abides() {
	w.t.Helper()
	for _, broken := range w.rules.take() {
		w.t.Error(broken)
	}
}

// refusalsCounted is how many tokens were refused without a record.
func (w *world) refusalsCounted() (orgID string, n int64) {
	org, err := w.app.registry.RecentOrganization(w.t.Context(), w.slug)
	if err != nil {
		return "", 0 // it is closed, or its database hangs, as the test wants it
	}
	for _, c := range w.app.exchange.Refusals().Of(org.ID).Counts {
		n += c.Count
	}
	return org.ID, n
}

// wroteDown asserts what an answered exchange left behind: a record of what was proven,
// a counter of what was not.
func (w *world) wroteDown(a *answer, counted int64) {
	w.t.Helper()
	orgID, now := w.refusalsCounted()
	id := a.str("decision_id")
	switch {
	case orgID == "":
	case id != "":
		d, err := w.app.db.Decision(w.t.Context(), orgID, id)
		if err != nil || d.Code != a.str("code") {
			w.t.Errorf("the answer %d %s names the decision %s, and of that is recorded: %v, %v", a.Status, a.str("code"), id, d, err)
		}
	case a.Status == http.StatusOK:
		w.t.Error("granted, and the answer names no decision")
	case a.str("code") == agentidp.CodeInvalidToken && now <= counted:
		w.t.Errorf("refused without a record, and not counted: %d were, and are %d", counted, now)
	}
}

// leavesNothing asserts of a server that has ended, and of what watched it, that no
// token or secret is in its log, its metrics and its database, and that it did not panic.
func (w *world) leavesNothing(metrics []byte) {
	w.t.Helper()
	log := w.logs.String()
	for _, panicked := range []string{"a handler panicked", "panic serving"} {
		if at := strings.Index(log, panicked); at >= 0 {
			w.t.Errorf("the server panicked: %.2000s", log[at:])
		}
	}
	texts := map[string][]byte{"the log": []byte(log), "the page of the metrics": metrics}
	for where, text := range w.database() {
		texts[where] = text
	}
	for where, text := range texts {
		if found := tokenIn(text); found != nil {
			w.t.Errorf("%s holds a token or a secret: %.14s…", where, found)
		}
		if w.rules.shows(text) {
			w.t.Errorf("%s holds the master key", where)
		}
	}
}

// scraped is the page of the metrics, whether or not the server has a listener for it.
func (w *world) scraped() []byte {
	page := httptest.NewRecorder()
	w.app.metrics.Handler().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return page.Body.Bytes()
}

// database returns what a server has stored, and what of it is base64 decoded too.
func (w *world) database() map[string][]byte {
	w.t.Helper()
	texts := map[string][]byte{}
	if path, embedded := w.app.cfg.SQLitePath(); embedded {
		files, err := filepath.Glob(path + "*")
		if err != nil {
			w.t.Fatal(err)
		}
		for _, file := range files {
			if texts[filepath.Base(file)], err = os.ReadFile(file); err != nil {
				w.t.Error(err)
			}
		}
	} else {
		texts = w.tables()
	}
	for where, text := range texts {
		texts[where] = append(text, bytes.Join(decoded(text), []byte("\n"))...)
	}
	return texts
}

// tables returns the rows of a database on PostgreSQL, by table.
func (w *world) tables() map[string][]byte {
	w.t.Helper()
	ctx := context.Background() // the test's own has ended
	conn, err := pgx.Connect(ctx, w.app.cfg.DatabaseURL)
	if err != nil {
		w.t.Errorf("look into the database: %v", err)
		return nil
	}
	defer conn.Close(ctx)
	names, err := texts(conn.Query(ctx, "SELECT quote_ident(table_name) FROM information_schema.tables WHERE table_schema = 'public'"))
	if err != nil || len(names) < 10 {
		w.t.Errorf("look into the database: %v, %v", names, err)
	}
	all := map[string][]byte{}
	for _, name := range names {
		rows, err := texts(conn.Query(ctx, "SELECT row::text FROM "+name+" row"))
		if err != nil {
			w.t.Errorf("look into the table %s: %v", name, err)
		}
		all["the table "+name] = []byte(strings.Join(rows, "\n"))
	}
	return all
}

func texts(rows pgx.Rows, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// These tests reach nobody but servers on this machine, and whoever tries is not answered.
func init() {
	transport := http.DefaultTransport.(*http.Transport)
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if host, _, err := net.SplitHostPort(address); err != nil || !net.ParseIP(host).IsLoopback() {
			return nil, fmt.Errorf("these tests reach nobody at %s", address)
		}
		return dial(ctx, network, address)
	}
}
