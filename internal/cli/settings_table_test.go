package cli

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

const masterKey = "bm90IHRoZSBrZXkgb2YgYW55IGluc3RhbGxhdGlvbiE="

// put is a file that the operator made.
func put(name, content string, mode os.FileMode) func(string) error {
	return func(dir string) error {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			return err
		}
		return os.Chmod(path, mode)
	}
}

// open is a folder to which everybody can write.
func open(name string) func(string) error {
	return func(dir string) error {
		path := filepath.Join(dir, name)
		return errors.Join(os.Mkdir(path, 0o700), os.Chmod(path, 0o777))
	}
}

// pipe is a pipe with a name: whoever opens it waits for the other end.
func pipe(name string) func(string) error {
	return func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, name), 0o600) }
}

func serve(args ...string) []string { return append([]string{"serve", "--check-config"}, args...) }

var wrongSettings = []struct {
	name     string
	operator operator
	reads    string // without the program's name before each line
}{
	// The file.
	{"a file that there is not", operator{args: serve("--config", "none.yaml")},
		`config (AGENTIDP_CONFIG): open none.yaml: no such file or directory`},
	{"a folder for a file", operator{args: serve("--config", "etc"), setUp: open("etc")},
		`config (AGENTIDP_CONFIG): etc is a folder, pipe or device, not a file; write the settings to a YAML file and give its path`},
	{"a pipe that nobody writes to", operator{args: serve("--config", "pipe"), setUp: pipe("pipe")},
		`config (AGENTIDP_CONFIG): pipe is a folder, pipe or device, not a file; write the settings to a YAML file and give its path`},
	{"a device", operator{args: serve("--config", "/dev/null")},
		`config (AGENTIDP_CONFIG): /dev/null is a folder, pipe or device, not a file; write the settings to a YAML file and give its path`},
	{"text that is not YAML", operator{file: "listen: 127.0.0.1:8080\npublic-url: 'https://idp.example.com\n"},
		`agentidp.yaml:2: is not YAML: found unexpected end of stream; put a value with special characters in quotes`},
	{"a password that is not quoted", operator{file: "database-url: *hunter2\n"},
		`agentidp.yaml: is not YAML: unknown anchor referenced; put a value with special characters in quotes`},
	{"a tab", operator{file: "listen: 127.0.0.1:8080\n\tdrain: 1s\n"},
		`agentidp.yaml:2: is not YAML: found a tab character that violates indentation; put a value with special characters in quotes`},
	{"a list of settings", operator{file: "- listen: 127.0.0.1:8080\n"},
		`agentidp.yaml:1: is no setting; write one a line, such as listen: 127.0.0.1:8080`},
	{"two documents", operator{file: "listen: 127.0.0.1:8080\n---\nlisten: 127.0.0.1:8081\n"},
		`agentidp.yaml:2: a second document begins; one file has one`},
	{"a key with a typing error", operator{file: "# comment\npublc-url: https://idp.example.com\n"},
		`agentidp.yaml:2: publc-url: there is no such setting; did you mean public-url?`},
	{"a key in the spelling of the variable", operator{file: "AGENTIDP_PUBLIC_URL: https://idp.example.com\n"},
		`agentidp.yaml:1: AGENTIDP_PUBLIC_URL: there is no such setting; did you mean public-url?`},
	{"a key in the spelling of JSON", operator{file: "dataDir: /var/lib/agentidp\n"},
		`agentidp.yaml:1: dataDir: there is no such setting; did you mean data-dir?`},
	{"a key that is like no other", operator{file: "colour: blue\n"},
		`agentidp.yaml:1: colour: there is no such setting; agentidp serve --help names all`},
	{"a key that would fill the screen", operator{file: "\"a\\nb\": blue\n"},
		`agentidp.yaml:1: "a\nb": there is no such setting; agentidp serve --help names all`},
	{"a key twice", operator{file: "drain: 1s\nlisten: 127.0.0.1:8080\ndrain: 1s\n"},
		`agentidp.yaml:3: drain: is given here again, after line 1; leave one`},
	{"nested settings", operator{file: "tls:\n  cert-file: tls.crt\n  key-file: tls.key\n"},
		`agentidp.yaml:1: tls: settings are not nested; write tls-cert-file`},
	{"keys below a setting", operator{file: "public-url:\n  host: idp.example.com\n"},
		`agentidp.yaml:1: public-url: has keys of its own, and settings are not nested; give one value`},
	{"a list where there is one value", operator{file: "listen: [127.0.0.1:8080, 127.0.0.1:8081]\n"},
		`agentidp.yaml:1: listen: is a list, and takes one value`},
	{"a key without a value", operator{file: "listen:\npublic-url: \"\"\n"},
		`
agentidp.yaml:1: listen: has no value; give one, or leave the line out
agentidp.yaml:2: public-url: has no value; give one, or leave the line out
`},
	{"a reference", operator{file: "listen: &a 127.0.0.1:8080\npublic-url: *a\n"},
		`agentidp.yaml:2: public-url: refers to another value; write it out`},
	{"the master key in the file", operator{file: "master-key: hunter2\n"},
		`agentidp.yaml:1: master-key: the key itself does not stand in a file of settings, which is copied and shown; give a file of its own with master-key-file, or AGENTIDP_MASTER_KEY`},
	{"a file that names another", operator{file: "config: other.yaml\n"},
		`agentidp.yaml:1: config: one file of settings cannot name another; leave the line out`},
	{"a file that others can write to", operator{file: "drain: 1s\n", mode: 0o666},
		`agentidp.yaml: others can write to it (mode 0666), and so decide whom this server trusts; run: chmod go-w agentidp.yaml`},
	{"a password that others can read", operator{file: "database-url: postgres://u:hunter2@db/x\n", mode: 0o644, env: []string{"AGENTIDP_MASTER_KEY=" + masterKey}},
		`agentidp.yaml:1: database-url: has a password in it, and others can read the file (mode 0644); run: chmod 600 agentidp.yaml, or give it in the environment`},

	// Values that are not of their type.
	{"a duration without a unit", operator{file: "token-ttl: 15\n"},
		`token-ttl (AGENTIDP_TOKEN_TTL): "15" is not a duration such as 30d, 1h or 90s (from agentidp.yaml:1)`},
	{"a duration in words, as a variable", operator{args: serve(), env: []string{"AGENTIDP_DRAIN=soon"}},
		`drain (AGENTIDP_DRAIN): "soon" is not a duration such as 30d, 1h or 90s (from AGENTIDP_DRAIN)`},
	{"a duration in words, as a flag", operator{args: serve("--drain", "soon")},
		`drain (AGENTIDP_DRAIN): "soon" is not a duration such as 30d, 1h or 90s (from --drain)`},
	{"a number in words", operator{file: "refusals-per-minute: many\n"},
		`refusals-per-minute (AGENTIDP_REFUSALS_PER_MINUTE): "many" is not a whole number (from agentidp.yaml:1)`},
	{"neither yes nor no", operator{args: serve(), env: []string{"AGENTIDP_DEV=perhaps"}},
		`dev (AGENTIDP_DEV): "perhaps" is neither true nor false (from AGENTIDP_DEV)`},

	// Values that cannot be.
	{"a life of nothing", operator{args: serve("--token-ttl", "0s")},
		`token-ttl (AGENTIDP_TOKEN_TTL): 0s is not between 1m and 1h in whole seconds (from --token-ttl)`},
	{"a negative life", operator{file: "token-ttl: -1s\n"},
		`token-ttl (AGENTIDP_TOKEN_TTL): -1s is not between 1m and 1h in whole seconds (from agentidp.yaml:1)`},
	{"a life of a month", operator{args: serve(), env: []string{"AGENTIDP_TOKEN_TTL=30d"}},
		`token-ttl (AGENTIDP_TOKEN_TTL): 720h0m0s is not between 1m and 1h in whole seconds (from AGENTIDP_TOKEN_TTL)`},
	{"a life of 1e12 seconds", operator{args: serve("--token-ttl", "1000000000000s")},
		`token-ttl (AGENTIDP_TOKEN_TTL): "1000000000000s" is not a duration such as 30d, 1h or 90s (from --token-ttl)`},
	{"no refusals", operator{args: serve("--refusals-per-minute", "0")},
		`refusals-per-minute (AGENTIDP_REFUSALS_PER_MINUTE): 0 is not between 1 and 1000000 (from --refusals-per-minute)`},
	{"a public URL with a path", operator{file: "drain: 1s\npublic-url: https://idp.example.com/idp\n"},
		`public-url (AGENTIDP_PUBLIC_URL): "https://idp.example.com/idp" is not just scheme, host and port in lower case, such as https://idp.example.com; leave out path, query and trailing slash (from agentidp.yaml:2)`},
	{"a listener for everybody without a public URL", operator{args: serve("--listen", ":8080")},
		`public-url (AGENTIDP_PUBLIC_URL): needed with listen ":8080", which is not on loopback; give the URL under which clients reach this server, such as https://idp.example.com`},
	{"a contact without its scheme", operator{args: serve("--security-contact", "security@example.com")},
		`security-contact (AGENTIDP_SECURITY_CONTACT): "security@example.com" is not one mailto:, https: or tel: URI; give one, without a comma, such as mailto:security@example.com, https://example.com/security or tel:+1-201-555-0123 (from --security-contact)`},
	{"a contact with a line of its own", operator{args: serve("--security-contact", "mailto:a@example.com\nExpires: 2099-01-01T00:00:00Z")},
		`security-contact (AGENTIDP_SECURITY_CONTACT): "mailto:a@example.com\nExpires: 2099-01-01T00:00:00Z" is not one mailto:, https: or tel: URI; give one, without a comma, such as mailto:security@example.com, https://example.com/security or tel:+1-201-555-0123 (from --security-contact)`},
	{"a contact over plain http", operator{file: "security-contact: http://example.com/security\n"},
		`security-contact (AGENTIDP_SECURITY_CONTACT): "http://example.com/security" is not one mailto:, https: or tel: URI; give one, without a comma, such as mailto:security@example.com, https://example.com/security or tel:+1-201-555-0123 (from agentidp.yaml:1)`},
	{"two contacts", operator{args: serve("--security-contact", "mailto:a@example.com,https://example.com/security")},
		`security-contact (AGENTIDP_SECURITY_CONTACT): "mailto:a@example.com,https://example.com/security" is not one mailto:, https: or tel: URI; give one, without a comma, such as mailto:security@example.com, https://example.com/security or tel:+1-201-555-0123 (from --security-contact)`},
	{"hosts that are none", operator{file: "issuer-hosts:\n  - https://ghes.example.com\n  - ci.internal:0\n"},
		`
issuer-hosts (AGENTIDP_ISSUER_HOSTS): "https://ghes.example.com" is not a host or host:port in lower case, such as ghes.internal or ci.internal:8443; leave out scheme, path and spaces, name every host (there are no wildcards), and write an IPv6 address in brackets (from agentidp.yaml:1)
issuer-hosts (AGENTIDP_ISSUER_HOSTS): "ci.internal:0" is not a host or host:port in lower case, such as ghes.internal or ci.internal:8443; leave out scheme, path and spaces, name every host (there are no wildcards), and write an IPv6 address in brackets (from agentidp.yaml:1)
`},
	{"development for everybody", operator{file: "dev: true\nlisten: 0.0.0.0:8080\npublic-url: https://idp.example.com\n"},
		`
dev (AGENTIDP_DEV): refused with listen "0.0.0.0:8080", which is not on loopback; development trusts plain-http issuers (from agentidp.yaml:1)
dev (AGENTIDP_DEV): refused with public URL "https://idp.example.com", which is not on loopback (from agentidp.yaml:1)
`},
	{"an algorithm that is not asymmetric", operator{args: serve(), env: []string{"AGENTIDP_SIGNING_ALG=HS256"}},
		`signing-alg (AGENTIDP_SIGNING_ALG): "HS256" is none of ES256, RS256, EdDSA (from AGENTIDP_SIGNING_ALG)`},
	{"another database", operator{args: serve("--database-url", "mysql://u:hunter2@db/x")},
		`database-url (AGENTIDP_DATABASE_URL): must be sqlite:PATH or postgres://user@host/database (from --database-url)`},
	{"a data directory that others can write to", operator{args: serve(), setUp: open("data")},
		`data-dir (AGENTIDP_DATA_DIR): data can be written by others (mode 0777); run: chmod go-w data`},

	// The master key.
	{"PostgreSQL without a master key", operator{args: serve(), env: []string{"AGENTIDP_DATABASE_URL=postgres://u:hunter2@db/x"}},
		`master key: set AGENTIDP_MASTER_KEY or AGENTIDP_MASTER_KEY_FILE; with PostgreSQL every node needs the same key, so none is made here (openssl rand -base64 32)`},
	{"A-211: words for a master key", operator{args: serve(), env: []string{"AGENTIDP_MASTER_KEY=hunter2"}},
		`AGENTIDP_MASTER_KEY: the master key is not 32 bytes in base64; make one with: openssl rand -base64 32`},
	{"A-211: a placeholder for a master key", operator{args: serve(), env: []string{"AGENTIDP_MASTER_KEY=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}},
		`AGENTIDP_MASTER_KEY: the master key is one byte repeated, a placeholder; make one with: openssl rand -base64 32`},
	{"a master key that others can read", operator{args: serve(), setUp: put("data/master.key", masterKey, 0o644)},
		`master key file data/master.key can be read by others (mode 0644); run: chmod 600 data/master.key`},

	// TLS.
	{"a certificate without a key", operator{args: serve("--tls-cert-file", "tls.crt")},
		`tls-key-file (AGENTIDP_TLS_KEY_FILE): needed with tls-cert-file; give the certificate's private key`},
	{"a key without a certificate", operator{file: "tls-key-file: tls.key\n"},
		`tls-cert-file (AGENTIDP_TLS_CERT_FILE): needed with tls-key-file; give the key's certificate with its chain`},
	{"a certificate that there is not", operator{args: serve("--tls-cert-file", "tls.crt", "--tls-key-file", "tls.key")},
		`tls-cert-file (AGENTIDP_TLS_CERT_FILE): open tls.crt: no such file or directory (from --tls-cert-file)`},
	{"a certificate that is none, under plain http", operator{args: serve("--tls-cert-file", "tls.crt", "--tls-key-file", "tls.key", "--public-url", "http://localhost:8080"), setUp: func(dir string) error {
		return errors.Join(put("tls.crt", "hunter2", 0o644)(dir), put("tls.key", "hunter2", 0o600)(dir))
	}},
		`
public-url (AGENTIDP_PUBLIC_URL): "http://localhost:8080" uses plain http, and with tls-cert-file the listener does not; use https (from --public-url)
tls-cert-file (AGENTIDP_TLS_CERT_FILE): tls.crt and tls.key are not a certificate and its key in PEM: failed to find any PEM data in certificate input (from --tls-cert-file)
`},
	{"a key that others can read", operator{file: "tls-cert-file: tls.crt\ntls-key-file: tls.crt\n", setUp: put("tls.crt", "hunter2", 0o644)},
		`tls-key-file (AGENTIDP_TLS_KEY_FILE): tls.crt can be read by others (mode 0644); run: chmod 600 tls.crt (from agentidp.yaml:2)`},

	// The environment, and several sources.
	{"a variable with a typing error", operator{args: serve(), env: []string{"AGENTIDP_LISEN=127.0.0.1:8081"}},
		`AGENTIDP_LISEN: there is no such setting; did you mean AGENTIDP_LISTEN?`},
	{"a variable that is empty, and a file that is not", operator{file: "public-url: https://idp.example.com\n", env: []string{"AGENTIDP_PUBLIC_URL="}},
		`public-url (AGENTIDP_PUBLIC_URL): the variable is empty, and agentidp.yaml:1 has a value; unset the variable, or give it a value`},
	{"a variable that is wrong, before a file that is right", operator{file: "public-url: https://idp.example.com\n", env: []string{"AGENTIDP_PUBLIC_URL=idp.example.com"}},
		`public-url (AGENTIDP_PUBLIC_URL): "idp.example.com" is not just scheme, host and port in lower case, such as https://idp.example.com; leave out path, query and trailing slash (from AGENTIDP_PUBLIC_URL)`},
	{"wrong in every source", operator{
		file: "lisen: 127.0.0.1:8080\ntoken-ttl: 5s\nrefusals-per-minute: many\nsigning-alg: [ES256]\nmaster-key: hunter2\n", mode: 0o644,
		env:  []string{"AGENTIDP_LOG_FORMAT=xml", "AGENTIDP_DRAN=1s", "AGENTIDP_MASTER_KEY=hunter2"},
		args: serve("--config", "agentidp.yaml", "--drain", "1h", "--github-issuer", "http://ci.example.com"),
	},
		`
AGENTIDP_DRAN: there is no such setting; did you mean AGENTIDP_DRAIN?
agentidp.yaml:1: lisen: there is no such setting; did you mean listen?
agentidp.yaml:4: signing-alg: is a list, and takes one value
agentidp.yaml:5: master-key: the key itself does not stand in a file of settings, which is copied and shown; give a file of its own with master-key-file, or AGENTIDP_MASTER_KEY
refusals-per-minute (AGENTIDP_REFUSALS_PER_MINUTE): "many" is not a whole number (from agentidp.yaml:3)
github-issuer (AGENTIDP_GITHUB_ISSUER): "http://ci.example.com" must use https (from --github-issuer)
log-format (AGENTIDP_LOG_FORMAT): "xml" is none of auto, text, json (from AGENTIDP_LOG_FORMAT)
token-ttl (AGENTIDP_TOKEN_TTL): 5s is not between 1m and 1h in whole seconds (from agentidp.yaml:2)
drain (AGENTIDP_DRAIN): 1h0m0s is not between 0s and 1m (from --drain)
AGENTIDP_MASTER_KEY: the master key is not 32 bytes in base64; make one with: openssl rand -base64 32
`},
	{"a command beside the server", operator{file: "data-dri: /x\npublic-url: http://idp.example.com\n", args: []string{"admin", "token", "--config", "agentidp.yaml"}},
		`
agentidp.yaml:1: data-dri: there is no such setting; did you mean data-dir?
public-url (AGENTIDP_PUBLIC_URL): "http://idp.example.com" uses plain http, which is for loopback only; use https (from agentidp.yaml:2)
`},
	{"the schema", operator{file: "database-url: mysql://db/x\n", args: []string{"migrate", "--config", "agentidp.yaml"}},
		`database-url (AGENTIDP_DATABASE_URL): must be sqlite:PATH or postgres://user@host/database (from agentidp.yaml:1)`},
}
