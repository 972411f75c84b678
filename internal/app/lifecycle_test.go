package app

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/pace"
)

func TestARestartKeepsEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.register(admin, agentName, "agents:read")
	w.policy(admin, map[string]any{"branch": "main", "agentId": agent, "audiences": []string{w.url + "/api/v1"}})
	w.policy(admin, map[string]any{"branch": "main"})
	used := w.subject(nil)
	held, boot := w.granted(exchangeBody(used, agent)).str("access_token"), w.bootstrap(nil)
	decision := w.refused(exchangeBody(w.subject(claims{"ref": "refs/heads/dev"}), agent), 403, agentidp.CodeBranchNotPermitted).str("decision_id")
	keys := w.keyIDs()
	lists := map[string]string{}
	for _, path := range []string{agentsPath, policiesPath} {
		lists[path] = string(w.want(w.do("GET", path, admin, nil), 200).Raw)
	}

	w.restart()
	if got := w.keyIDs(); !reflect.DeepEqual(got, keys) {
		t.Errorf("the keys are %v, and were %v", got, keys)
	}
	for path, before := range lists {
		got := string(w.want(w.do("GET", path, admin, nil), 200).Raw) // the administrator's token still is one
		if counters.ReplaceAllString(got, "") != counters.ReplaceAllString(before, "") {
			t.Errorf("%s:\n%s\nwas\n%s", path, got, before)
		}
		if n := strings.Count(got, `"matchCount":1`); path == policiesPath && n != 2 {
			t.Errorf("the counters were not written at the end: %s", got)
		}
	}
	w.want(w.do("GET", agentsPath, held, nil), 200)
	w.want(w.do("POST", agentsPath, boot, map[string]any{"name": "x@ci.acme.example"}), 201)
	w.refused(exchangeBody(used, agent), 401, agentidp.CodeInvalidToken, agentidp.ReasonTokenReplayed)
	w.refused(exchangeBody(w.subject(claims{"repository_id": "7"}), agent), 403, agentidp.CodeRepositoryIdentityChanged) // the pin
	w.granted(exchangeBody(w.subject(nil), agent))
	if d := w.decision(decision); d.Code != agentidp.CodeBranchNotPermitted {
		t.Errorf("the decision is %+v", d)
	}
}

// counters are the members that are written once a minute and at the end.
var counters = regexp.MustCompile(`"(matchCount|lastMatchedAt)":[^,]+,`)

// What a policy in shadow mode would have granted is counted, whether it was granted or
// refused; what it would have refused, and a token that was used before, are not.
func TestWhatAShadowWouldHaveGrantedIsCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.register(admin, "deployer@ci.acme.example")
	shadow := w.policy(admin, map[string]any{"agentId": agent, "branch": "main", "mode": "shadow"}).str("id")
	refused := w.decision(w.refused(exchangeBody(w.subject(nil), agent), 403, agentidp.CodeTrustPolicyViolation).str("decision_id"))
	if want := []agentidp.Shadow{{PolicyID: shadow, Allowed: true}}; !reflect.DeepEqual(refused.Shadow, want) {
		t.Errorf("the decision tells %+v, want %+v", refused.Shadow, want)
	}
	w.policy(admin, map[string]any{"agentId": agent})
	used := w.subject(nil)
	w.granted(exchangeBody(used, agent))
	w.granted(exchangeBody(w.subject(claims{"ref": "refs/heads/dev"}), agent))
	replayed := w.decision(w.refused(exchangeBody(used, agent), 401, agentidp.CodeInvalidToken, agentidp.ReasonTokenReplayed).str("decision_id"))
	if replayed.Shadow != nil {
		t.Errorf("a used token would have been granted by %+v", replayed.Shadow)
	}
	w.restart()
	got := w.want(w.do("GET", policiesPath+"/"+shadow, admin, nil), 200)
	if !strings.Contains(string(got.Raw), `"matchCount":2,`) {
		t.Errorf("want two exchanges counted: %s", got.Raw)
	}
}

func TestAnIssuerOutageRightAfterARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.agentWithPolicy(w.admin())
	w.outage.Store(true)
	a := w.want(w.exchange(exchangeBody(w.subject(nil), agent)), 503, agentidp.CodeIssuerUnreachable)
	if a.Header.Get("Retry-After") == "" || a.str("decision_id") != "" {
		t.Errorf("%v %s", a.Header, a.Raw)
	}
	w.outage.Store(false)
	w.clock.advance(10 * time.Second) // past the pause after a failure
	w.granted(exchangeBody(w.subject(nil), agent))
	pace.Eventually(t, "the issuer's keys are saved", func() bool {
		set, err := w.app.db.KeySet(t.Context(), w.issuer+"/.well-known/jwks")
		return err == nil && set.JWKS != nil
	})
	w.outage.Store(true)
	w.restart()
	fetches := w.fetches.Load()
	w.granted(exchangeBody(w.subject(nil), agent))
	if w.fetches.Load() != fetches {
		t.Error("a fetch on the way of an exchange whose key is known")
	}
}

// failingStart starts a server with a configuration and returns why it did not.
func (w *world) failingStart(cfg config.Config) error {
	w.t.Helper()
	a, err := New(w.t.Context(), Options{Config: cfg, Version: "test", Logger: slog.New(slog.DiscardHandler), Clock: w.clock.Now})
	if err != nil {
		return err
	}
	if err := a.close(); err != nil {
		w.t.Error(err)
	}
	return nil
}

// on disk: the harness asserts the same of the log of every world.
func TestNoTokenIsStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.agentWithPolicy(admin)
	token := w.subject(nil)
	w.granted(exchangeBody(token, agent))
	w.refused(exchangeBody(token, agent), 401, agentidp.CodeInvalidToken, agentidp.ReasonTokenReplayed)
	w.refused(exchangeBody(w.subject(claims{"ref": "refs/heads/dev"}), agent), 403, agentidp.CodeBranchNotPermitted)
	w.exchange(exchangeBody(token, token)) // in a field that is recorded
	w.do("POST", agentsPath, admin, map[string]any{"name": admin})
	w.stop()
	files, err := filepath.Glob(filepath.Join(w.app.cfg.DataDir, "*"))
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if found := jwtPattern.Find(content); found != nil {
			t.Errorf("%s holds a token: %.20s…", file, found)
		}
	}
}

func TestPostgresNeedsAMasterKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, onPostgres(t))
	cfg := w.app.cfg
	w.stop()
	cfg.Listen, cfg.MasterKey = "127.0.0.1:0", ""
	if err := w.failingStart(cfg); err == nil || !strings.Contains(err.Error(), "this database is sealed, and there is no key in AGENTIDP_MASTER_KEY") {
		t.Errorf("sealed: %v", err)
	}
	onPostgres(t)(&cfg)
	cfg.MasterKey = ""
	if err := w.failingStart(cfg); err == nil || !strings.Contains(err.Error(), "master key: set AGENTIDP_MASTER_KEY or AGENTIDP_MASTER_KEY_FILE; with PostgreSQL every node needs the same key") {
		t.Errorf("new: %v", err)
	}
	if _, err := os.Stat(cfg.MasterKeyFile); !os.IsNotExist(err) {
		t.Errorf("a key file was made: %v", err)
	}
}

// two processes on one file.
func TestR06ASecondServerOnTheSameDataIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.agentWithPolicy(w.admin())
	cfg := w.app.cfg
	cfg.Listen = "127.0.0.1:0"
	for range 2 {
		err := w.failingStart(cfg)
		if want := "data-dir (AGENTIDP_DATA_DIR): another agentidp serve uses " + cfg.DataDir + "; stop it, or give this one a folder of its own"; err == nil || err.Error() != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
	w.granted(exchangeBody(w.subject(nil), agent)) // the first is none the worse
	w.stop()
	if err := w.failingStart(cfg); err != nil {
		t.Errorf("after the first has ended: %v", err)
	}
}

func TestAnAddressInUseStopsTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cfg := w.app.cfg
	cfg.Storage = config.Storage{DataDir: t.TempDir()}
	cfg.Storage.Complete()
	if err := w.failingStart(cfg); err == nil || !strings.HasPrefix(err.Error(), "listen (AGENTIDP_LISTEN): ") {
		t.Errorf("%v", err)
	}
	cfg.Listen = "127.0.0.1:0" // and lets go of the folder
	if err := w.failingStart(cfg); err != nil {
		t.Error(err)
	}
}

func TestAnOrderlyEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.agentWithPolicy(w.admin())
	body := string(mustJSON(t, exchangeBody(w.subject(nil), agent)))
	conn, err := net.Dial("tcp", w.app.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	answers := bufio.NewReader(conn)
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", exchangePath, len(body))
	if line, err := answers.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" { // the handler waits for the body
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := io.WriteString(conn, body[:10]); err != nil {
		t.Fatal(err)
	}
	address := w.app.Address()
	ended := make(chan struct{})
	go func() { w.stop(); close(ended) }()
	pace.Eventually(t, "new connections are refused", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case <-ended:
		t.Fatal("the server ended with a request under way")
	default:
	}
	if _, err := io.WriteString(conn, body[10:]); err != nil {
		t.Fatal(err)
	}
	if _, err := answers.ReadString('\n'); err != nil { // the empty line behind the 100
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || !strings.Contains(string(answer), "access_token") {
		t.Errorf("%d %s %v", resp.StatusCode, answer, err)
	}
	<-ended
}

func TestAnAdminTokenMadeBesideTheServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.SigningAlg = "EdDSA" })
	w.tenant("bravo")
	cfg := config.Config{Storage: w.app.cfg.Storage}
	quiet := slog.New(slog.DiscardHandler)
	issue := func(cfg config.Config, slug, scope string, ttl time.Duration) (token string, rec *agentidp.AccessToken, err error) {
		err = Beside(context.Background(), cfg, quiet, func(a *App) (err error) {
			token, rec, err = a.AdminToken(t.Context(), slug, scope, ttl)
			return err
		})
		return token, rec, err
	}
	keys := w.keyIDs()
	token, rec, err := issue(cfg, "default", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	w.want(w.do("GET", agentsPath, token, nil), 200)
	if rec.Scope != "admin" || rec.ExpiresAt.Sub(rec.IssuedAt) != time.Hour || jwtClaims(t, token)["iss"] != w.url {
		t.Errorf("%+v", rec)
	}
	token, _, err = issue(cfg, "default", "agents:read deploy:staging", 720*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	w.want(w.do("GET", agentsPath, token, nil), 200)
	w.want(w.do("GET", policiesPath, token, nil), 403, agentidp.CodeInsufficientScope)
	if got := w.keyIDs(); !reflect.DeepEqual(got, keys) {
		t.Errorf("the keys are %v, and were %v", got, keys)
	}
	elsewhere := cfg
	elsewhere.PublicURL = "https://idp.example.com"
	token, _, err = issue(elsewhere, "default", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	w.want(w.do("GET", agentsPath, token, nil), 401, agentidp.CodeInvalidToken)

	empty := config.Config{Storage: config.Storage{DataDir: t.TempDir()}}
	empty.Storage.Complete()
	unlocked := cfg
	unlocked.MasterKeyFile = filepath.Join(t.TempDir(), "none")
	for _, r := range []struct {
		name        string
		cfg         config.Config
		slug, scope string
		ttl         time.Duration
		want        string
	}{
		{"an organization that there is not", cfg, "none", "", 0, "There is no organization \"none\"; agentidp org list names"},
		{"a scope that there is not", cfg, "default", "root", 0, "scope must be management scopes"},
		{"a scope twice", cfg, "default", "admin admin", 0, "scope must be management scopes"},
		{"31 days", cfg, "default", "", 31 * 24 * time.Hour, "ttl is 744h0m0s; give between 1s and 720h (30 days)"},
		{"a negative life", cfg, "default", "", -time.Hour, "ttl is -1h0m0s; give between"},
		{"an empty folder", empty, "default", "", 0, "there is no database to work on; start the server once, or give its --data-dir"},
		{"no master key", unlocked, "default", "", 0, "there is no key in AGENTIDP_MASTER_KEY or in"},
	} {
		if _, _, err := issue(r.cfg, r.slug, r.scope, r.ttl); err == nil || !strings.Contains(err.Error(), r.want) {
			t.Errorf("%s: %v, want %q", r.name, err, r.want)
		}
	}
	if entries, err := os.ReadDir(empty.DataDir); err != nil || len(entries) != 0 {
		t.Errorf("the empty folder has %v, %v", entries, err)
	}
}

func TestMigrate(t *testing.T) {
	t.Parallel()
	cfg := config.Config{Storage: config.Storage{DataDir: t.TempDir()}}
	cfg.Storage.Complete()
	quiet := slog.New(slog.DiscardHandler)
	before, after, err := Migrate(t.Context(), cfg, quiet)
	if err != nil || before != 0 || after == 0 {
		t.Fatalf("from %d to %d, %v", before, after, err)
	}
	again, same, err := Migrate(t.Context(), cfg, quiet)
	if err != nil || again != after || same != after {
		t.Fatalf("from %d to %d, %v", again, same, err)
	}
	err = Beside(t.Context(), cfg, quiet, func(*App) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "start the server once") {
		t.Errorf("work before the first start: %v", err)
	}
}
