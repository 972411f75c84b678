package app

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/pace"
)

// watched has the server serve metrics, on any free port.
func watched(c *config.Config) { c.MetricsListen = "127.0.0.1:0" }

// profiled has it serve profiles beside them.
func profiled(c *config.Config) { c.Pprof = true }

// look asks the listener of the metrics.
func (w *world) look(method, path string, headers ...string) *answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+w.app.MetricsAddress()+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			req.Host = headers[i+1]
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return &answer{Status: resp.StatusCode, Header: resp.Header, Raw: raw}
}

// series returns the samples of AgentIdP's own metrics, by name and labels as they
// are written.
func (w *world) series() map[string]string {
	w.t.Helper()
	found := map[string]string{}
	for line := range strings.Lines(string(w.want(w.look("GET", "/metrics"), 200).Raw)) {
		if i := strings.LastIndexByte(line, ' '); i > 0 && strings.HasPrefix(line, "agentidp_") {
			found[line[:i]] = strings.TrimSpace(line[i+1:])
		}
	}
	return found
}

// counts asserts the values of series.
func (w *world) counts(want map[string]string) {
	w.t.Helper()
	got := w.series()
	for name, value := range want {
		if got[name] != value {
			w.t.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
}

// exchanges names the counter of exchanges with these labels.
func exchanges(outcome, code, reason, provider, mode string) string {
	return granting("token_exchange", outcome, code, reason, provider, mode)
}

// granting does that for any grant.
func granting(grant, outcome, code, reason, provider, mode string) string {
	return fmt.Sprintf(`agentidp_exchanges_total{code=%q,grant=%q,mode=%q,outcome=%q,provider=%q,reason=%q}`, code, grant, mode, outcome, provider, reason)
}

// events names the counter of events of a type.
func events(typ agentidp.EventType) string { return fmt.Sprintf(`agentidp_events_total{type=%q}`, typ) }

// refreshed is after how long the keys of an issuer are fetched again.
const refreshed = 11 * time.Minute

// aDay is a server after a bit of everything: grants, refusals of every sort, and an
// outage of the CI's issuer.
func aDay(t *testing.T, options ...option) *world {
	t.Helper()
	w := newWorld(t, slices.Concat([]option{watched, func(c *config.Config) { c.RefusalsPerMinute = 2 }}, options)...)
	admin := w.admin()
	agent := w.agentWithPolicy(admin)
	w.policy(admin, map[string]any{"branch": "main"})
	token := w.subject(nil)
	w.granted(exchangeBody(token, agent))
	w.granted(exchangeBody(w.subject(nil), ""))
	w.refused(exchangeBody(token, agent), 401, agentidp.CodeInvalidToken, agentidp.ReasonTokenReplayed)
	w.refused(exchangeBody(w.subject(claims{"ref": "refs/heads/dev"}), agent), 403, agentidp.CodeBranchNotPermitted)
	w.refused(exchangeBody(w.subject(claims{"aud": "https://other.example"}), agent), 401, agentidp.CodeInvalidToken, agentidp.ReasonAudienceMismatch)
	w.refused(exchangeBody(w.subject(claims{"ref": "refs/heads/dev"}), agent), 429, agentidp.CodeRateLimited)
	w.refused(exchangeBody(w.subject(claims{"repository_id": "7"}), agent), 403, agentidp.CodeRepositoryIdentityChanged)
	w.refused(exchangeBody("x.y.z", agent), 401, agentidp.CodeInvalidToken)
	w.refused(exchangeBody(w.subject(claims{"iss": "https://ci.example"}), agent), 401, agentidp.CodeInvalidToken)
	w.refused(map[string]any{"agentId": agent}, 400, agentidp.CodeInvalidRequest)
	w.through(bearerDoor).granted(exchangeBody(w.subject(nil), agent))
	client := w.asking(agent)
	w.want(client.obtains("client_secret_post", itself()), 200)
	w.want(client.obtains("", itself()), 401, agentidp.CodeInvalidClient)
	w.do("GET", "/nothing", "", nil)

	stranger := strings.Split(w.subject(nil), ".")
	stranger[0] = b64(`{"alg":"RS256","typ":"JWT","kid":"none"}`)
	w.outage.Store(true)
	w.clock.advance(refreshed)
	w.refused(exchangeBody(strings.Join(stranger, "."), agent), 503, agentidp.CodeIssuerUnreachable)
	return w
}

func TestMetricsCountWhatHappened(t *testing.T) {
	t.Parallel()
	w := aDay(t)
	const invalid = agentidp.CodeInvalidToken
	w.counts(map[string]string{
		exchanges("allowed", "", "", "github", "agent"):                                              "1",
		exchanges("allowed", "", "", "github", "bootstrap"):                                          "1",
		exchanges("denied", invalid, agentidp.ReasonTokenReplayed, "github", "agent"):                "1",
		exchanges("denied", invalid, agentidp.ReasonAudienceMismatch, "github", "agent"):             "1",
		exchanges("denied", invalid, "format", "", "agent"):                                          "1",
		exchanges("denied", invalid, "issuer", "", "agent"):                                          "1",
		exchanges("denied", agentidp.CodeBranchNotPermitted, "", "github", "agent"):                  "1",
		exchanges("denied", agentidp.CodeRateLimited, "", "github", "agent"):                         "1",
		exchanges("denied", agentidp.CodeRepositoryIdentityChanged, "", "github", "agent"):           "1",
		exchanges("denied", agentidp.CodeInvalidRequest, "", "", "agent"):                            "1",
		exchanges("error", agentidp.CodeIssuerUnreachable, "", "github", "agent"):                    "1",
		granting("jwt_bearer", "allowed", "", "", "github", "agent"):                                 "1",
		granting("client_credentials", "allowed", "", "", "", "agent"):                               "1",
		granting("client_credentials", "denied", agentidp.CodeInvalidClient, "", "", "agent"):        "1",
		`agentidp_exchange_duration_seconds_count{outcome="allowed"}`:                                "4",
		`agentidp_exchange_duration_seconds_count{outcome="error"}`:                                  "1",
		`agentidp_http_request_duration_seconds_count{route="POST /api/v1/oidc/token",status="2xx"}`: "2",
		`agentidp_http_request_duration_seconds_count{route="POST /api/v1/oidc/token",status="4xx"}`: "8",
		`agentidp_http_request_duration_seconds_count{route="POST /api/v1/oidc/token",status="5xx"}`: "1",
		`agentidp_http_request_duration_seconds_count{route="POST /api/v1/agents",status="2xx"}`:     "1",
		`agentidp_http_request_duration_seconds_count{route="none",status="4xx"}`:                    "1",
		`agentidp_http_requests_in_flight`:                                                           "0",
		events(agentidp.EventTokenIssued):                                                            "4",
		events(agentidp.EventTokenReplayed):                                                          "1",
		events(agentidp.EventRepositoryIdentityChanged):                                              "1",
		events(agentidp.EventRepositoryPinned):                                                       "1",
		events(agentidp.EventExchangeDenied):                                                         "2",
		events(agentidp.EventAgentRegistered):                                                        "1",
		events(agentidp.EventPolicyCreated):                                                          "2",
		events(agentidp.EventTokenRevoked):                                                           "0", // there before the first
		`agentidp_commit_records_count`:                                                              "9",
		`agentidp_commit_records_sum`:                                                                "9",
		`agentidp_commit_duration_seconds_count`:                                                     "9",
		`agentidp_commit_failures_total`:                                                             "0",
		`agentidp_issuer_key_fetches_total{result="ok"}`:                                             "1",
		`agentidp_issuer_key_fetches_total{result="error"}`:                                          "1",
		`agentidp_issuer_keys_reachable{host="127.0.0.1"}`:                                           "0",
		`agentidp_ready`: "1",
	})
	series := w.series()
	for name, least := range map[string]float64{
		`agentidp_issuer_keys_age_seconds{host="127.0.0.1"}`: refreshed.Seconds(),
		`agentidp_signing_key_age_seconds`:                   refreshed.Seconds(),
		`agentidp_database_size_bytes{file="database"}`:      4096,
		`agentidp_database_size_bytes{file="wal"}`:           4096,
	} {
		var got float64
		if _, err := fmt.Sscan(series[name], &got); err != nil || got < least || got > 1e9 {
			t.Errorf("%s is %q, want %v or somewhat more", name, series[name], least)
		}
	}

	// The issuer is back, and so are its keys.
	w.outage.Store(false)
	w.clock.advance(refreshed)
	agent := w.register(w.admin(), "second@ci.acme.example", "deploy:staging")
	w.exchange(exchangeBody(w.subject(nil), agent))
	pace.Eventually(t, "the keys are fetched", func() bool { return w.app.verifier.Stats().Fetches == 3 })
	w.counts(map[string]string{`agentidp_issuer_keys_reachable{host="127.0.0.1"}`: "1", `agentidp_issuer_key_fetches_total{result="ok"}`: "2"})
}

func TestMetricsTellWhetherTheServerIsReady(t *testing.T) {
	t.Parallel()
	w := newWorld(t, watched)
	w.counts(map[string]string{"agentidp_ready": "1"})
	w.app.ending.Store(true)
	w.counts(map[string]string{"agentidp_ready": "0"})
	w.app.ending.Store(false)
	w.counts(map[string]string{"agentidp_ready": "1"})
	if err := w.app.db.Close(); err != nil {
		t.Fatal(err)
	}
	w.want(w.do("GET", "/readyz", "", nil), 503, agentidp.CodeTemporarilyUnavailable)
	w.counts(map[string]string{"agentidp_ready": "0"})
}

// the public port tells clients nothing of the inside, and the port of the
// metrics is good for nothing else.
func TestA225MetricsHaveAListenerOfTheirOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, watched, profiled)
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/heap", "/debug/vars"} {
		w.isProblem(w.want(w.do("GET", path, w.admin(), nil), 404, agentidp.CodeNotFound))
	}
	for _, tt := range []struct {
		name, method, path string
		host               string
		status             int
	}{
		{"metrics", "GET", "/metrics", "", 200},
		{"metrics for a scraper by any name", "GET", "/metrics", "idp.example.com", 200},
		{"profiles", "GET", "/debug/pprof/", "", 200},
		{"a profile", "GET", "/debug/pprof/heap", "", 200},
		{"profiles by the name of this machine", "GET", "/debug/pprof/", "localhost:9090", 200},
		{"profiles for a page whose name resolves to this machine", "GET", "/debug/pprof/", "evil.example:9090", 403},
		{"one profile for it", "GET", "/debug/pprof/heap", "evil.example", 403},
		{"the command line, where a password may be", "GET", "/debug/pprof/cmdline", "", 404},
		{"writing", "POST", "/metrics", "", 405},
		{"the API", "GET", "/api/v1/agents", "", 404},
		{"an exchange", "POST", "/api/v1/oidc/token", "", 404},
		{"health", "GET", "/healthz", "", 404},
		{"nothing", "GET", "/", "", 404},
	} {
		if a := w.look(tt.method, tt.path, "Host", tt.host); a.Status != tt.status {
			t.Errorf("%s: %d, want %d", tt.name, a.Status, tt.status)
		}
	}

	plain := newWorld(t, watched)
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile"} {
		if a := plain.look("GET", path); a.Status != 404 {
			t.Errorf("%s: %d without the flag", path, a.Status)
		}
	}
	off := newWorld(t)
	if address := off.app.MetricsAddress(); address != "" {
		t.Errorf("metrics are off, and served at %s", address)
	}

	cfg := off.app.cfg
	off.stop()
	cfg.MetricsListen = w.app.MetricsAddress()
	err := off.failingStart(cfg)
	if err == nil || !strings.HasPrefix(err.Error(), "metrics-listen (AGENTIDP_METRICS_LISTEN): listen tcp "+cfg.MetricsListen) || !strings.HasSuffix(err.Error(), "; give another address, or off for none") {
		t.Errorf("an address that is taken: %v", err)
	}
}

// whatever strangers send, it makes no new series and is no label.
func TestMetricLabelsAreFew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, watched)
	agent := w.agentWithPolicy(w.admin())
	round := func(n int) {
		mark := fmt.Sprintf("mark%d", n)
		head := func(kid string) string {
			parts := strings.Split(w.subject(nil), ".")
			parts[0] = b64(fmt.Sprintf(`{"alg":"RS256","typ":"JWT","kid":%q}`, kid))
			return strings.Join(parts, ".")
		}
		w.granted(exchangeBody(w.subject(nil), agent))
		w.exchange(exchangeBody(w.subject(claims{"repository": mark + "/x"}), agent))
		w.exchange(exchangeBody(w.subject(claims{"ref": "refs/heads/" + mark}), agent))
		w.exchange(exchangeBody(w.subject(claims{"iss": "https://" + mark + ".example"}), agent))
		w.exchange(exchangeBody(w.subject(nil), mark))
		w.exchange(exchangeBody(head(mark), agent))
		w.exchange(exchangeBody(head("\x1b[31m\u202e"+mark), agent))
		w.do("GET", "/"+mark, "", nil)
		w.do("GET", "/o/"+mark+"/api/v1/agents", "", nil)
		w.do("GET", "/api/v1/agents/"+mark, w.admin(), nil)
		w.do("GET", "/healthz", "", nil, "User-Agent", mark)
		w.do("MARK"+fmt.Sprint(n), "/healthz", "", nil)
	}
	round(0)
	before := w.series()
	for n := range 5 {
		round(n + 1)
	}
	after := w.series()
	for name := range after {
		if strings.Contains(strings.ToLower(name), "mark") {
			t.Errorf("what a stranger sent is a label: %s", name)
		}
		if _, was := before[name]; !was {
			t.Errorf("a new series: %s", name)
		}
	}
	if len(after) < 60 {
		t.Errorf("only %d series; is this the exposition?", len(after))
	}
}

// those who watch see no token, no key and nobody's data.
func TestA219NothingSecretIsToldToThoseWhoWatch(t *testing.T) {
	t.Parallel()
	w := aDay(t, profiled)
	secrets := []string{w.admin(), w.subject(nil), repository, agentName, w.org().ID}
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/allocs?debug=1"} {
		a := w.look("GET", path)
		if a.Status != 200 || len(a.Raw) < 1000 {
			t.Errorf("%s: %d, %d bytes", path, a.Status, len(a.Raw))
		}
		if jwtPattern.Match(a.Raw) {
			t.Errorf("%s shows a token", path)
		}
		for _, secret := range secrets {
			if strings.Contains(string(a.Raw), secret) {
				t.Errorf("%s shows %.6s…", path, secret)
			}
		}
	}
}

// Those who watch have few connections, so that none of them is taken from clients.
func TestFewWatchAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, watched)
	idle := make([]net.Conn, 2*watchers)
	for i := range idle {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", w.app.MetricsAddress())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		idle[i] = conn
	}
	w.want(w.look("GET", "/metrics"), 200)
	open := 0
	for _, conn := range idle {
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			open++
		}
	}
	if open > watchers {
		t.Errorf("%d are open", open)
	}
}
