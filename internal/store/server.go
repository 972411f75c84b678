package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// ErrNoServer says that the database is a file of this program.
var ErrNoServer = errors.New("there is no database server")

// Server is the PostgreSQL that was found, and the way to it.
type Server struct {
	version, address string
	connections      int    // that a node may have
	encrypted        string // version of TLS; "": not encrypted
	unprepared       bool   // because of a pooler
	isolation        string
	lax              []string // settings by which a confirmed commit may be lost
	unverified       []string // hosts that may be anybody's
}

// Concern is something that may be wrong, and what to do about it.
type Concern struct{ What, Remedy string }

// Server asks PostgreSQL what it is. ErrNoServer: there is none.
func (db *DB) Server(ctx context.Context) (*Server, error) {
	if db.upstream == nil {
		return nil, ErrNoServer
	}
	conn, err := db.read.Conn(ctx)
	if err != nil {
		return nil, db.explain(ctx, "connect", withRemedy(err))
	}
	defer func() { _ = conn.Close() }() // it only goes back
	s := &Server{connections: sum(db.upstream.connections), unprepared: db.upstream.unprepared.Load(), unverified: db.upstream.unverified()}
	if !s.unprepared {
		s.connections++ // by which a node listens
	}
	_ = conn.Raw(func(c any) error { // which never fails
		pg := c.(*stdlib.Conn).Conn().PgConn()
		s.version, s.address = pg.ParameterStatus("server_version"), pg.Conn().RemoteAddr().String()
		if secured, ok := pg.Conn().(*tls.Conn); ok {
			s.encrypted = tls.VersionName(secured.ConnectionState().Version)
		}
		return nil
	})
	var fsync, confirmed string
	err = conn.QueryRowContext(ctx, "SELECT current_setting('transaction_isolation'), coalesce(current_setting('fsync', true), ''), coalesce(current_setting('synchronous_commit', true), '')").
		Scan(&s.isolation, &fsync, &confirmed)
	if fsync == "off" {
		s.lax = append(s.lax, "fsync")
	}
	if confirmed == "off" {
		s.lax = append(s.lax, "synchronous_commit")
	}
	return s, db.explain(ctx, "look at the settings of PostgreSQL", err)
}

func sum(numbers [3]int) int { return numbers[0] + numbers[1] + numbers[2] }

// String says what was found.
func (s *Server) String() string {
	text := fmt.Sprintf("version %s at %s, ", s.version, s.address)
	if strings.HasPrefix(s.address, "/") || s.address == "" || s.address == "@" {
		text = fmt.Sprintf("version %s on this machine, ", s.version)
	}
	if s.encrypted != "" {
		text += s.encrypted + ", "
	}
	if s.unprepared {
		text += "through a pooler, "
	}
	return text + fmt.Sprintf("%s, at most %d connections", s.isolation, s.connections)
}

// Concerns returns what may not be as it should.
func (s *Server) Concerns() (all []Concern) {
	for _, host := range s.unverified {
		all = append(all, Concern{
			"the connection to PostgreSQL at " + host + " is not verified: whoever stands between can read and change what is stored",
			"say sslmode=verify-full in the database URL, and sslrootcert=<file> where the authority is one of your own",
		})
	}
	for _, setting := range s.lax {
		all = append(all, Concern{
			"PostgreSQL confirms commits that are not on the disk (" + setting + " = off): after a crash, used tokens and revocations of the last moment may be gone",
			"set " + setting + " to on there",
		})
	}
	return all
}

// unverified returns the hosts, other than this machine, whose certificate nobody looks at.
func (u *upstream) unverified() (hosts []string) {
	for _, to := range u.attempts() {
		network, _ := pgconn.NetworkAddress(to.Host, to.Port)
		ip := net.ParseIP(to.Host)
		verified := to.TLSConfig != nil && (!to.TLSConfig.InsecureSkipVerify || to.TLSConfig.VerifyPeerCertificate != nil)
		if network == "unix" || to.Host == "localhost" || ip.IsLoopback() || verified || slices.Contains(hosts, to.Host) {
			continue
		}
		hosts = append(hosts, to.Host)
	}
	return hosts
}

// attempts are the ways to a server that the URL names, in their order.
func (u *upstream) attempts() []*pgconn.FallbackConfig {
	return append([]*pgconn.FallbackConfig{{Host: u.config.Host, Port: u.config.Port, TLSConfig: u.config.TLSConfig}}, u.config.Fallbacks...)
}
