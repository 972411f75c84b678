package store

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// leastVersion is the oldest PostgreSQL that is worked with. The oldest that its makers
// mended in 2025 is also what engines beside it say to be compatible with.
const leastVersion = 13

// errOnlyReads: a standby, or a server that was told to refuse writes.
var errOnlyReads = errors.New("it only reads")

// unfitError is a server that this program does not work with.
type unfitError struct{ what, remedy string }

func (e *unfitError) Error() string { return e.what }

// fitVersion looks at what a server says that it is: "15.12 (Debian 15.12-0+deb12u2)".
func fitVersion(said string) error {
	major, _ := strconv.Atoi(said[:len(said)-len(strings.TrimLeft(said, "0123456789"))])
	if major == 0 || major >= leastVersion { // 0: whatever it is, it speaks the protocol
		return nil
	}
	return &unfitError{"it is PostgreSQL " + said, fmt.Sprintf("use PostgreSQL %d or later", leastVersion)}
}

// fitEncoding looks at how a database keeps texts; "": it does not say.
func fitEncoding(said string) error {
	if said == "" || strings.EqualFold(said, "UTF8") {
		return nil
	}
	return &unfitError{"the database keeps texts as " + said, "make one that can hold any: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"}
}

// fitIsolation looks at how transactions are kept apart. Locks make what rests on more than
// one row right where each statement sees what was committed before it, and the engine
// does where it is serializable. In between neither does.
func fitIsolation(said string) error {
	if said != "repeatable read" {
		return nil
	}
	return &unfitError{"its transactions are REPEATABLE READ", "set default_transaction_isolation to 'read committed' or 'serializable' (ALTER ROLE … SET …, or in the database URL)"}
}

// mustBe is said where the parts of a database URL cannot be told from each other.
const mustBe = `it must be postgres://<user>:<password>@<host>:<port>/<database>, with what is special in the password percent-encoded ("@" is %40, "/" is %2F)`

// unreadable returns what is wrong with a database URL. Where its parts cannot be told
// from each other, any of them may be the password, so none is quoted.
func unreadable(err error) string {
	what := err.Error()
	what = what[strings.LastIndex(what, "`: ")+len("`: "):] // before it is the URL
	if strings.HasPrefix(what, "failed to parse as URL") || what == "invalid port" {
		return mustBe
	}
	return what
}

// withRemedy adds to an error of connecting what to do about it.
func withRemedy(err error) error {
	failed, ok := errors.AsType[*pgconn.ConnectError](err)
	if !ok {
		return err
	}
	var said []string
	var remedy string
	for _, attempt := range attempts(failed.Unwrap()) {
		what := strings.Join(strings.Fields(attempt.Error()), " ")
		if !slices.Contains(said, what) {
			said = append(said, what)
		}
		remedy = cmp.Or(remedyOf(attempt), remedy)
	}
	return &connectError{
		what: fmt.Sprintf("PostgreSQL cannot be used as user %s, database %s: %s",
			failed.Config.User, failed.Config.Database, strings.Join(said, "; ")),
		remedy: cmp.Or(remedy, "look whether it runs there and lets this user in"), cause: err,
	}
}

// connectError says why no connection was made, and what to do about it.
type connectError struct {
	what, remedy string
	cause        error
}

func (e *connectError) Error() string { return e.what + "; " + e.remedy }
func (e *connectError) Unwrap() error { return e.cause }

// attempts returns the errors of all servers that were tried.
func attempts(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// remedyOf returns what to do about one attempt to connect; "": nothing in particular.
func remedyOf(err error) string {
	if e, ok := errors.AsType[*unfitError](err); ok {
		return e.remedy
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok && e.IsNotFound {
		return "look at the name of the host in the database URL"
	}
	switch {
	case errors.Is(err, errOnlyReads):
		return "name the primary in the database URL, or all servers (postgres://<user>@<host>,<host>/<database>)"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "look whether PostgreSQL runs, and listens at this address and port (listen_addresses, port)"
	case errors.Is(err, fs.ErrNotExist):
		return "look whether PostgreSQL runs, and has its socket in this folder (unix_socket_directories)"
	case pgconn.Timeout(err), errors.Is(err, context.DeadlineExceeded):
		return "look at the address in the database URL, and at firewalls on the way"
	}
	return cmp.Or(remedyOfTLS(err), remedyOfState(sqlState(err)))
}

func remedyOfTLS(err error) string {
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, name := errors.AsType[x509.HostnameError](err)
	switch {
	case unknown:
		return "name the file with the certificate of its authority in the database URL: sslrootcert=<file>"
	case name:
		return "name the host in the database URL as its certificate does"
	case strings.Contains(err.Error(), "server refused TLS connection"):
		return "switch TLS on there (ssl = on), or, where nobody can listen on the way, say sslmode=disable in the database URL"
	case strings.Contains(err.Error(), "remote error: tls:"):
		return "look at the client's certificate: sslcert=<file> and sslkey=<file> in the database URL"
	}
	return ""
}

func remedyOfState(state string) string {
	switch state {
	case "28P01":
		return "look at the user and password in the database URL, or in PGPASSWORD or the file that PGPASSFILE names where the URL has none"
	case "28000":
		return "look whether there is such a user, and whether pg_hba.conf lets it in from here: with TLS or without, with a certificate (sslcert and sslkey in the database URL) or without"
	case "3D000":
		return "create it (CREATE DATABASE … OWNER …), or name another in the database URL"
	case "42501":
		return "let the user in: GRANT CONNECT ON DATABASE … TO …"
	case "53300":
		return "raise max_connections there, or lower " + poolParameter + " in the database URL of each server"
	case "57P03":
		return "wait until it has started"
	case "08P01", "42704": // of a pooler, of a server
		return "take what it does not know out of the database URL"
	}
	return ""
}

// mayMake adds to an error of making tables who has to let this program do so.
func mayMake(err error) error {
	switch sqlState(err) {
	case "42501", "3F000": // no permission; no schema that it may see
		return fmt.Errorf("%w; make the user of the database URL the owner of the database (ALTER DATABASE … OWNER TO …), or let it make tables (GRANT CREATE, USAGE ON SCHEMA … TO …)", err)
	}
	return err
}
