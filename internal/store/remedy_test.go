package store_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp/internal/certtest"
	"github.com/sentryagent/agentidp/internal/pgtest"
	"github.com/sentryagent/agentidp/internal/store"
)

// hba lets the users of these tests in, each in its own way.
const hba = `
local all all trust
host all postgres 127.0.0.1/32 trust
host all walled 127.0.0.1/32 trust
host all agent 127.0.0.1/32 scram-sha-256
hostssl all secured 127.0.0.1/32 cert
`

// secret is what no error may show.
const secret = "s3cret-word"

func newGuarded(t *testing.T) *pgtest.Cluster {
	t.Helper()
	c := pgtest.NewCluster(t, "fsync=off")
	for _, statement := range []string{
		"CREATE ROLE agent LOGIN PASSWORD '" + secret + "'", "CREATE ROLE secured LOGIN", "CREATE ROLE walled LOGIN CONNECTION LIMIT 0",
		"CREATE DATABASE plain", "CREATE DATABASE owned OWNER agent",
	} {
		c.Exec(statement)
	}
	c.Put("pg_hba.conf", []byte(hba))
	return c
}

// tryOpen opens and migrates a database, and says how it was reached.
func tryOpen(t *testing.T, url string) (how string, err error) {
	t.Helper()
	db, err := store.Open(t.Context(), url, store.Options{})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.Migrate(t.Context()); err != nil {
		return "", err
	}
	server, err := db.Server(t.Context())
	if err != nil {
		return "", err
	}
	return server.String(), nil
}

func TestPostgreSQLThatCannotBeUsedIsNamedWithARemedy(t *testing.T) {
	t.Parallel()
	c := newGuarded(t)
	for _, statement := range []string{
		"CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
		"CREATE DATABASE snapshots", "ALTER DATABASE snapshots SET default_transaction_isolation = 'repeatable read'",
		"CREATE DATABASE reads", "ALTER DATABASE reads SET default_transaction_read_only = on",
		"CREATE DATABASE closed", "REVOKE CONNECT ON DATABASE closed FROM PUBLIC",
	} {
		c.Exec(statement)
	}
	at := "@" + c.Address() + "/"
	for name, test := range map[string]struct{ url, want, remedy string }{
		"a host that nobody knows":    {"postgres://agent:" + secret + "@nowhere.invalid/x", "nowhere.invalid", "the name of the host"},
		"a port with nothing behind":  {"postgres://agent:" + secret + "@127.0.0.1:1/x", "127.0.0.1:1", "listens at this address and port"},
		"a folder without a socket":   {"postgres://agent:" + secret + "@/x?host=" + t.TempDir(), "no such file", "unix_socket_directories"},
		"a wrong password":            {"postgres://agent:not-" + secret + at + "plain?sslmode=disable", "password authentication failed", "PGPASSWORD"},
		"no password":                 {"postgres://agent" + at + "plain?sslmode=disable&passfile=/dev/null", "password", "PGPASSWORD"},
		"no such user":                {"postgres://nobody:" + secret + at + "plain?sslmode=disable", "no pg_hba.conf entry", "whether there is such a user"},
		"no such database":            {"postgres://agent:" + secret + at + "none?sslmode=disable", `"none" does not exist`, "CREATE DATABASE"},
		"no permission to connect":    {"postgres://agent:" + secret + at + "closed?sslmode=disable", "permission denied", "GRANT CONNECT"},
		"no permission for tables":    {"postgres://agent:" + secret + at + "plain?sslmode=disable", "permission denied for schema public", "ALTER DATABASE … OWNER TO"},
		"no connection left":          {"postgres://walled:" + secret + at + "plain?sslmode=disable", "too many connections", "max_connections"},
		"a database of LATIN1":        {"postgres://agent:" + secret + at + "latin?sslmode=disable", "LATIN1", "ENCODING 'UTF8'"},
		"REPEATABLE READ":             {"postgres://agent:" + secret + at + "snapshots?sslmode=disable", "REPEATABLE READ", "default_transaction_isolation"},
		"a server that only reads":    {"postgres://agent:" + secret + at + "reads?sslmode=disable", "it only reads", "name the primary"},
		"TLS that it does not have":   {"postgres://agent:" + secret + at + "plain?sslmode=require", "refused TLS", "ssl = on"},
		"a parameter nobody knows":    {"postgres://agent:" + secret + at + "plain?sslmode=disable&sslmod=x", "sslmod", "out of the database URL"},
		"no number of connections":    {"postgres://agent:" + secret + at + "plain?pool_max_conns=2", `pool_max_conns is "2"`, "from 3 to 1000"},
		"a mode of TLS nobody knows":  {"postgres://agent:" + secret + at + "plain?sslmode=verify", "sslmode", ""},
		"no file of the authority":    {"postgres://agent:" + secret + at + "plain?sslmode=verify-full&sslrootcert=/none", "/none", ""},
		"a password with a slash":     {"postgres://agent:" + secret + "/" + secret + at + "plain", "must be postgres://", "percent-encoded"},
		"a password with an at sign":  {"postgres://agent:x@" + secret + at + "plain", "must be postgres://", "percent-encoded"},
		"a slash before the password": {"postgres://agent/" + secret + at + "plain", "must be postgres://", "percent-encoded"},
		"TLS that is not insisted on": {"postgres://agent:not-" + secret + at + "plain", "refused TLS", "PGPASSWORD"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := tryOpen(t, test.url)
			if err == nil {
				t.Fatal("it opened")
			}
			if text := err.Error(); !strings.Contains(text, test.want) || !strings.Contains(text, test.remedy) || strings.Contains(text, secret) || strings.Contains(text, "\n") {
				t.Errorf("%v\nwant %q, %q, one line, and no password", err, test.want, test.remedy)
			}
		})
	}
}

func TestVersionsOfPostgreSQL(t *testing.T) {
	for said, good := range map[string]bool{
		"18beta1": true, "15.12 (Debian 15.12-0+deb12u2)": true, "13.0.0": true, "12.22": false, "9.6.24": false, "11.2-YB-2.20.1.0-b0": false, "": true, "unknown": true,
	} {
		if err := store.FitVersion(said); (err == nil) != good {
			t.Errorf("%q: %v", said, err)
		}
	}
}

func TestThePasswordMayBeElsewhere(t *testing.T) {
	c := newGuarded(t)
	url := "postgres://agent@" + c.Address() + "/owned?sslmode=disable"
	passfile := filepath.Join(t.TempDir(), "pgpass")
	if err := os.WriteFile(passfile, []byte("127.0.0.1:*:owned:agent:"+secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tryOpen(t, url+"&passfile="+passfile); err != nil {
		t.Errorf("in a file that the URL names: %v", err)
	}
	for variable, value := range map[string]string{"PGPASSWORD": secret, "PGPASSFILE": passfile} {
		t.Run(variable, func(t *testing.T) {
			if _, err := tryOpen(t, url); err == nil {
				t.Fatal("it opened without a password")
			}
			t.Setenv(variable, value)
			if _, err := tryOpen(t, url); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTLSToPostgreSQL(t *testing.T) {
	t.Parallel()
	c := newGuarded(t)
	file := func(name string, content []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	client := certtest.New(func(cert *x509.Certificate) {
		cert.Subject, cert.ExtKeyUsage = pkix.Name{CommonName: "secured"}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	})
	serverPublic := serveTLS(t, c, client)
	public, private := certtest.PEM(client)
	root := "&sslrootcert=" + file("root.crt", serverPublic)
	otherPublic, _ := certtest.PEM(certtest.New(nil))
	other := "&sslrootcert=" + file("other.crt", otherPublic)
	ours := "&sslcert=" + file("client.crt", public) + "&sslkey=" + file("client.key", private)
	here, byName := "@"+c.Address()+"/owned?sslmode=", "@"+strings.Replace(c.Address(), "127.0.0.1", "localhost", 1)+"/owned?sslmode="
	agent, secured := "postgres://agent:"+secret, "postgres://secured"
	c.Exec("GRANT agent TO secured") // who owns the tables
	for _, test := range []struct{ name, url, refused string }{
		{"verify-full", agent + here + "verify-full" + root, ""},
		{"verify-full, and another authority", agent + here + "verify-full" + other, "sslrootcert=<file>"},
		{"verify-full, and another name", agent + byName + "verify-full" + root, "as its certificate does"},
		{"verify-ca, and another name", agent + byName + "verify-ca" + root, ""},
		{"verify-ca, and another authority", agent + here + "verify-ca" + other, "sslrootcert=<file>"},
		{"require", agent + here + "require", ""},
		{"prefer", agent + here + "prefer", ""},
		{"a client's certificate", secured + here + "verify-full" + root + ours, ""},
		{"no client's certificate", secured + here + "verify-full" + root, "sslcert"},
		{"no TLS, where it has to be", secured + here + "disable", "with TLS or without"},
	} {
		how, err := tryOpen(t, test.url)
		switch {
		case test.refused == "" && (err != nil || !strings.Contains(how, "TLS 1.3")):
			t.Errorf("%s: %q, %v; want TLS", test.name, how, err)
		case test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)):
			t.Errorf("%s: %v, want a refusal with %q", test.name, err, test.refused)
		}
	}
	if how, err := tryOpen(t, agent+here+"disable"); err != nil || strings.Contains(how, "TLS") {
		t.Errorf("disable: %q, %v", how, err)
	}
}

// serveTLS has a cluster speak TLS and know a client, and returns its certificate.
func serveTLS(t *testing.T, c *pgtest.Cluster, client tls.Certificate) (public []byte) {
	t.Helper()
	public, private := certtest.PEM(certtest.New(nil))
	known, _ := certtest.PEM(client)
	c.Put("server.crt", public)
	c.Put("server.key", private)
	c.Put("clients.crt", known)
	c.Exec("ALTER SYSTEM SET ssl_ca_file = 'clients.crt'")
	c.Exec("ALTER SYSTEM SET ssl = on")
	c.Exec("SELECT pg_reload_conf()")
	return public
}

// Whoever can listen on the way, or be the server, is told of where nobody else may be.
func TestWhatIsNotSafeAboutAServer(t *testing.T) {
	t.Parallel()
	f := newFixture(t, pgtest.Start(t)) // with fsync off
	server, err := f.Server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if concerns := server.Concerns(); len(concerns) != 1 || !strings.Contains(concerns[0].What, "fsync = off") {
		t.Errorf("%v, want that fsync is off", concerns)
	}
	for url, want := range map[string]string{
		"postgres://u@127.0.0.1,localhost,[::1]/x?sslmode=disable": "",
		"postgres://u@/x?host=/run/postgresql":                     "",
		"postgres://u@db.example/x?sslmode=verify-full":            "",
		"postgres://u@db.example/x":                                "db.example",
		"postgres://u@db.example/x?sslmode=require":                "db.example",
		"postgres://u@a.example,b.example/x?sslmode=disable":       "a.example b.example",
	} {
		got, err := store.Unverified(url)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v; want %q", url, got, err, want)
		}
	}
}
