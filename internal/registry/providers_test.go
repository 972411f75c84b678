package registry

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
	"github.com/sentryagent/agentidp/internal/verify"
)

// issuer is one that says itself where its keys are.
type issuer struct {
	url      string
	discover atomic.Pointer[string] // the document; {} stands for the issuer's URL
	keys     atomic.Pointer[string]
	asked    atomic.Int64
}

// registering is a registry on a database, and an issuer on loopback.
func registering(t *testing.T) (*Registry, *agentidp.Organization, *issuer, *atomic.Int64) {
	t.Helper()
	i := &issuer{}
	i.say(`{"issuer":"{}","jwks_uri":"{}/keys","id_token_signing_alg_values_supported":["ES256"]}`, goodKeys)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		document := i.keys.Load()
		if strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration") {
			document = i.discover.Load()
		}
		if *document == "" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte(strings.ReplaceAll(*document, "{}", i.url)))
	}))
	t.Cleanup(server.Close)
	i.url = server.URL

	db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "x.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var seconds atomic.Int64 // how often an issuer may be asked is a matter of time
	clock := func() time.Time {
		return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC).Add(time.Duration(seconds.Load()) * time.Second)
	}
	v := verify.New(verify.Config{Kinds: kinds(), AllowInsecureLoopback: true, Clock: clock})
	t.Cleanup(v.Close)
	const public = "https://idp.acme.example"
	return New(Config{DB: db, Kinds: kinds(), PublicURL: public, Verifier: v, Clock: clock}), &agentidp.Organization{ID: "o", Issuer: public}, i, &seconds
}

func (i *issuer) say(discovery, keys string) {
	i.discover.Store(&discovery)
	i.keys.Store(&keys)
}

func asAdmin() *Caller {
	return &Caller{Principal: &agentidp.Principal{OrganizationID: "o", Subject: "admin:1", Scopes: []string{agentidp.ScopeAdmin}}}
}

func asWriter() *Caller {
	return &Caller{Principal: &agentidp.Principal{OrganizationID: "o", Subject: "admin:2", Scopes: []string{agentidp.ScopeProvidersWrite}}}
}

func TestAProviderIsSavedWithWhatItsIssuerSays(t *testing.T) {
	t.Parallel()
	r, org, i, seconds := registering(t)
	spec := agentidp.ProviderSpec{Name: "ci", Issuer: i.url}
	p, err := r.CreateProvider(t.Context(), org, asWriter(), spec)
	if err != nil || p.Kind != "oidc" || p.JWKSURI != i.url+"/keys" || !slices.Equal(p.Algorithms, []string{"RS256", "ES256"}) || p.MaxTokenAgeSeconds != 7200 {
		t.Fatalf("%+v, %v", p, err)
	}
	asked := i.asked.Load()

	// A replacement asks again, unless it says where the keys are.
	seconds.Add(10)
	i.say(`{"issuer":"{}","jwks_uri":"{}/moved"}`, goodKeys)
	if _, err := r.ReplaceProvider(t.Context(), org, asWriter(), "ci", 1, spec); !isCode(err, agentidp.CodeInsufficientScope) {
		t.Errorf("keys moved by whoever is not admin: %v", err)
	}
	spec.JWKSURI = i.url + "/keys"
	p, err = r.ReplaceProvider(t.Context(), org, asWriter(), "ci", 1, spec)
	if err != nil || p.Revision != 1 || i.asked.Load() != asked+1 {
		t.Errorf("said as it was: %+v, %v; asked %d times", p, err, i.asked.Load()-asked)
	}
	spec.JWKSURI = ""
	p, err = r.ReplaceProvider(t.Context(), org, asAdmin(), "ci", 1, spec)
	if err != nil || p.Revision != 2 || p.JWKSURI != i.url+"/moved" {
		t.Errorf("moved by admin: %+v, %v", p, err)
	}
}

func TestNothingIsSavedOfAnIssuerThatDoesNotSay(t *testing.T) {
	t.Parallel()
	r, org, i, seconds := registering(t)
	try := func(spec agentidp.ProviderSpec) error {
		seconds.Add(10)
		p, err := r.CreateProvider(t.Context(), org, asAdmin(), spec)
		if err == nil {
			t.Errorf("saved: %+v", p)
		}
		return err
	}
	for name, tt := range map[string]struct{ discovery, code, says string }{
		"no document":                   {"", agentidp.CodeInvalidRequest, "404"},
		"no JSON":                       {"<html>", agentidp.CodeInvalidRequest, "discovery document"},
		"A-184 another issuer":          {`{"issuer":"{}/x","jwks_uri":"{}/keys"}`, agentidp.CodeInvalidRequest, "equal to the byte"},
		"A-184 a slash at the end":      {`{"issuer":"{}/","jwks_uri":"{}/keys"}`, agentidp.CodeInvalidRequest, "equal to the byte"},
		"A-185 keys on another host":    {`{"issuer":"{}","jwks_uri":"https://mallory.example/keys"}`, agentidp.CodeInvalidRequest, "another host"},
		"A-185 keys where nobody looks": {`{"issuer":"{}","jwks_uri":"https://169.254.169.254/keys"}`, agentidp.CodeInvalidRequest, "jwksUri"},
	} {
		i.say(tt.discovery, goodKeys)
		if err := try(agentidp.ProviderSpec{Name: "ci", Issuer: i.url}); !isCode(err, tt.code) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := try(agentidp.ProviderSpec{Name: "ci", Issuer: "http://127.0.0.1:1"}); !isCode(err, agentidp.CodeIssuerUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
	all, err := r.DB.Providers(t.Context(), "o", "", 10)
	if err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
	events, err := r.DB.Events(t.Context(), "o", &agentidp.EventFilter{}, "", 10)
	if err != nil || len(events) != 0 {
		t.Errorf("%v, %v", events, err)
	}
}

func TestWhoMayNotIsToldBeforeAnybodyIsAsked(t *testing.T) {
	t.Parallel()
	r, org, i, _ := registering(t)
	for name, change := range map[string]func(*agentidp.ProviderSpec){
		"audiences":          func(s *agentidp.ProviderSpec) { s.Audiences = []string{"sts"} },
		"algorithms":         func(s *agentidp.ProviderSpec) { s.Algorithms = []string{"ES256"} },
		"jwksUri":            func(s *agentidp.ProviderSpec) { s.JWKSURI = i.url + "/keys" },
		"jwks":               func(s *agentidp.ProviderSpec) { s.JWKS = []byte(goodKeys) },
		"maxTokenAgeSeconds": func(s *agentidp.ProviderSpec) { s.MaxTokenAgeSeconds = 7201 },
		"replay":             func(s *agentidp.ProviderSpec) { s.Replay = agentidp.ReplayAllow },
	} {
		spec := agentidp.ProviderSpec{Name: "ci", Issuer: i.url}
		change(&spec)
		if _, err := r.CreateProvider(t.Context(), org, asWriter(), spec); !isCode(err, agentidp.CodeInsufficientScope) || !strings.Contains(err.Error(), "set "+name+" like") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := i.asked.Load(); n != 0 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

func TestTheReportOnAProvider(t *testing.T) {
	t.Parallel()
	r, org, i, seconds := registering(t)
	if _, err := r.CreateProvider(t.Context(), org, asAdmin(), agentidp.ProviderSpec{Name: "ci", Issuer: i.url, Algorithms: []string{"ES256"}}); err != nil {
		t.Fatal(err)
	}
	const document = `{"issuer":"{}","jwks_uri":"{}/keys"}`
	for _, tt := range []struct {
		name, discovery, keys string
		usable                bool
		problem               string // "": none
	}{
		{"as it was registered", document, goodKeys, true, ""},
		{"an RSA key that is refused beside a good one", document, strings.Replace(goodKeys, `]`, `,{"kty":"RSA","kid":"r"}]`, 1), true, ""},
		{"no discovery any more", "", goodKeys, true, "404"},
		{"it names other algorithms", strings.Replace(document, `/keys"}`, `/keys","id_token_signing_alg_values_supported":["EdDSA"]}`, 1), goodKeys, true, "signs with EdDSA"},
		{"its keys move", strings.Replace(document, "/keys", "/moved", 1), goodKeys, true, "/moved, and the provider reads"},
		{"no keys", document, "", false, "404"},
		{"no key that is usable", document, strings.Replace(goodKeys, "P-256", "P-521", 1), false, "no key that tokens can be verified with"},
		{"no key set", document, "[]", false, "no key set that can be read"},
	} {
		seconds.Add(10)
		i.say(tt.discovery, tt.keys)
		report, err := r.TestProvider(t.Context(), org, "ci")
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		problems := strings.Join(report.Problems, " ")
		if report.Usable != tt.usable || (problems == "") != (tt.problem == "") || !strings.Contains(problems, tt.problem) {
			t.Errorf("%s: %+v", tt.name, report)
		}
		if tt.usable && (len(report.Keys) == 0 || report.Keys[0] != agentidp.ProviderKey{ID: "key-1", Algorithm: "ES256", Usable: true}) {
			t.Errorf("%s: the keys are %+v", tt.name, report.Keys)
		}
		if tt.usable && len(report.Keys) > 1 && (report.Keys[1].Usable || report.Keys[1].Problem == "") {
			t.Errorf("%s: nothing wrong with %+v", tt.name, report.Keys[1])
		}
	}
	if n, err := r.DB.Events(t.Context(), "o", &agentidp.EventFilter{}, "", 10); err != nil || len(n) != 1 {
		t.Errorf("a look left events: %v, %v", n, err)
	}
	for range 10 { // more than anybody needs
		if _, err := r.TestProvider(t.Context(), org, "ci"); isCode(err, agentidp.CodeRateLimited) {
			return
		}
	}
	t.Error("an issuer may be asked without end")
}

func isCode(err error, code string) bool {
	e, ok := errors.AsType[*agentidp.Error](err)
	return ok && e.Code == code
}
