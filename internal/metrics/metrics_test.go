package metrics

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	rec := httptest.NewRecorder()
	m.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if rec.Code != 200 {
		t.Fatalf("%d: %s", rec.Code, rec.Body)
	}
	return rec.Body.String()
}

func TestNamesBeyondTheFirstFiftyAreOneSeries(t *testing.T) {
	t.Parallel()
	m := New("test")
	var issuers []Issuer
	m.Read(func() Sample { return Sample{Issuers: issuers} })
	for i := range 80 {
		for range 2 {
			m.Exchanged(Exchange{Outcome: "allowed", Provider: fmt.Sprintf("provider-%02d", i), Mode: "agent", Grant: "jwt_bearer"})
		}
		issuers = append(issuers, Issuer{Host: fmt.Sprintf("host-%02d.example", i), Reachable: i != 70, Age: time.Duration(i) * time.Second})
	}
	got := scrape(t, m)
	for _, want := range []string{
		`agentidp_exchanges_total{code="",grant="jwt_bearer",mode="agent",outcome="allowed",provider="provider-49",reason=""} 2`,
		`agentidp_exchanges_total{code="",grant="jwt_bearer",mode="agent",outcome="allowed",provider="other",reason=""} 60`,
		`agentidp_issuer_keys_reachable{host="host-49.example"} 1`,
		`agentidp_issuer_keys_reachable{host="other"} 0`, // the worst of them
		`agentidp_issuer_keys_age_seconds{host="other"} 79`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("there is no %s", want)
		}
	}
	for name, want := range map[string]int{"agentidp_exchanges_total{": maxNames + 1, "agentidp_issuer_keys_reachable{": maxNames + 1} {
		if n := strings.Count(got, "\n"+name); n != want {
			t.Errorf("%d series of %s, want %d", n, name, want)
		}
	}
}

func TestWhatIsThereBeforeAnythingHappened(t *testing.T) {
	t.Parallel()
	m := New("1.2.3")
	m.Read(func() Sample {
		return Sample{Issuers: []Issuer{{Host: "ci.example", Age: -1}, {Host: "ci.example", Reachable: true, Age: time.Minute}, {Host: "new.example", Age: -1}}}
	})
	got := scrape(t, m)
	want := []string{
		"agentidp_ready 0", `agentidp_build_info{goversion="go`, `version="1.2.3"} 1`,
		`agentidp_issuer_key_fetches_total{result="error"} 0`, "agentidp_commit_failures_total 0", "agentidp_signing_key_age_seconds 0",
		`agentidp_issuer_keys_reachable{host="ci.example"} 0`, `agentidp_issuer_keys_age_seconds{host="ci.example"} 60`,
		"go_goroutines ", "process_open_fds ",
	}
	for _, typ := range agentidp.EventTypes {
		want = append(want, fmt.Sprintf("agentidp_events_total{type=%q} 0\n", typ))
	}
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("there is no %s", w)
		}
	}
	for _, absent := range []string{`age_seconds{host="new.example"}`, "agentidp_database_size_bytes"} {
		if strings.Contains(got, absent) {
			t.Errorf("there is %s, and nobody knows it", absent)
		}
	}
}

func TestStatusesAreFew(t *testing.T) {
	t.Parallel()
	m := New("test")
	for status := range 1000 {
		m.Answered("", status, time.Millisecond)
	}
	if n := strings.Count(scrape(t, m), "\nagentidp_http_request_duration_seconds_count{"); n != 6 {
		t.Errorf("%d classes of status, want 1xx to 5xx and none", n)
	}
}

// BenchmarkExchange is what counting costs an exchange, its request and its commit.
func BenchmarkExchange(b *testing.B) {
	m := New("bench")
	b.ReportAllocs()
	for b.Loop() {
		m.Begun()
		m.Exchanged(Exchange{Outcome: "allowed", Provider: "github", Mode: "agent", Grant: "token_exchange", Took: time.Millisecond})
		m.Ended()
		m.Answered("POST /api/v1/oidc/token", 200, time.Millisecond)
		m.Committed(1, time.Millisecond)
	}
}
