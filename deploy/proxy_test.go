package deploy_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/printed"
)

// site is two nodes over PostgreSQL behind Caddy, as the compose file has them.
type site struct {
	t        *testing.T
	url      string
	database *pgtest.Cluster
	nodes    [2]*node
	client   *http.Client // from an address that is not the proxy's
}

type node struct {
	*process
	program string
	env     []string
	url     string
}

func (n *node) start(t *testing.T) {
	t.Helper()
	cmd := exec.Command(n.program, "serve")
	cmd.Env = n.env
	n.process = start(t, cmd)
	n.answers(t, n.url+"/readyz")
}

func newSite(t *testing.T) *site {
	t.Helper()
	caddy, dir, proxy := needs(t, "caddy"), folder(t), freeAddress(t)
	s := &site{t: t, url: "http://" + proxy, database: pgtest.NewCluster(t)}
	database, agentidp := s.database.CreateDatabase("agentidp"), built(t, dir)
	file, master := read(t, "Caddyfile"), "bXktbWFzdGVyLWtleS1vZi0zMi1ieXRlcy1pbi10ZXM="
	printed.Secret(t, master)
	for i, name := range []string{"agentidp-1", "agentidp-2"} {
		address := freeAddress(t)
		file = strings.ReplaceAll(file, name+":8080", address)
		s.nodes[i] = &node{program: agentidp, url: "http://" + address, env: append(ownEnvironment(),
			"AGENTIDP_DATABASE_URL="+database, "AGENTIDP_MASTER_KEY="+master, "AGENTIDP_LISTEN="+address,
			"AGENTIDP_PUBLIC_URL=http://localhost:8080", "AGENTIDP_DATA_DIR="+filepath.Join(dir, name), "AGENTIDP_METRICS_LISTEN=off", "AGENTIDP_LOG_FORMAT=json",
			"AGENTIDP_TRUSTED_PROXIES=127.0.0.1", "AGENTIDP_DRAIN=2s", "AGENTIDP_ADDRESS_FAILURES_PER_MINUTE=0", "AGENTIDP_ADDRESS_REQUESTS_PER_MINUTE=0")}
		s.nodes[i].start(t)
	}
	path := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(path, []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(caddy, "run", "--adapter", "caddyfile", "--config", path)
	cmd.Env = append(ownEnvironment(), "AGENTIDP_HOST="+s.url, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	start(t, cmd).answers(t, s.url+"/readyz")
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	s.client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DialContext: from.DialContext, MaxIdleConnsPerHost: 8}}
	return s
}

// exchange asks for what every node refuses, after it has read all of the request.
func (s *site) exchange(ctx context.Context) (int, string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/api/v1/oidc/token", strings.NewReader(`{"token":"none"}`))
	if err != nil {
		return 0, err.Error()
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Forwarded-For", "203.0.113.9") // as whoever wants to be another
	return ask(s.client, req)
}

// keys asks for the key set.
func (s *site) keys(ctx context.Context) (int, string) {
	return get(ctx, s.client, s.url+"/.well-known/jwks.json")
}

// Both nodes are replaced, one after the other, while clients come: nobody meets anything
// but an answer of AgentIdP, from the address that is his.
func TestNodesAreReplacedBehindTheProxy(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var asked atomic.Int64
	for range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				if status, body := s.exchange(t.Context()); status != http.StatusUnauthorized {
					t.Errorf("an exchange is answered %d %s", status, body)
				}
				if status, body := s.keys(t.Context()); status != http.StatusOK {
					t.Errorf("the key set is answered %d %s", status, body)
				}
				asked.Add(1)
			}
		})
	}
	for i, n := range s.nodes {
		before := asked.Load()
		if code := n.end(t); code != 0 {
			t.Errorf("node %d: exit code %d", i+1, code)
		}
		if !strings.Contains(n.said(), `"remote":"127.0.0.2"`) || strings.Contains(n.said(), "203.0.113.9") {
			t.Errorf("node %d does not know where clients come from", i+1)
		}
		n.start(t)
		if asked.Load() == before {
			t.Errorf("nobody came while node %d was replaced", i+1)
		}
		s.within("the proxy sends clients to the new node", func() bool { return strings.Contains(n.said(), `"path":"/api/v1/oidc/token"`) })
	}
	cancel()
	clients.Wait()
}

// While the database is away, whoever verifies tokens still gets the key set, also
// through a proxy that asks for readiness; what needs the database is refused, and comes
// back by itself.
func TestTheKeySetIsServedWithoutTheDatabaseBehindTheProxy(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	refused := func() bool {
		status, _ := get(t.Context(), s.client, s.url+"/readyz")
		if keys, body := s.keys(t.Context()); keys != http.StatusOK {
			t.Errorf("the key set is answered %d %s", keys, body)
		}
		return status == http.StatusServiceUnavailable
	}
	s.database.Stop("fast")
	s.within("the proxy knows that no node is ready", refused)
	for range 5 {
		refused()
	}
	s.database.Start()
	s.within("the proxy knows that they are ready again", func() bool { return !refused() })
	if status, body := s.exchange(t.Context()); status != http.StatusUnauthorized {
		t.Errorf("an exchange is answered %d %s", status, body)
	}
}

// within waits for something, for no longer than it could take on any machine.
func (s *site) within(what string, is func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("never: %s", what)
		}
	}
}
