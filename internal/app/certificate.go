package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/limit"
)

// certificates are what the listener shows its clients: the pair of files that was
// good last. The files are looked at again during handshakes, at most once a second,
// and once a minute; a pair that is not good leaves the one before in use. Connections
// that are open never notice.
type certificates struct {
	certFile, keyFile string
	clock             func() time.Time
	logger            *slog.Logger

	current atomic.Pointer[tls.Certificate]
	looked  atomic.Int64 // when the files were looked at, in unix seconds

	mu     sync.Mutex
	stamp  [2]stamp // of the files that were read last, good or not
	warned time.Time
}

// stamp tells one state of a file from another.
type stamp struct {
	changed time.Time
	size    int64
}

func newCertificates(cfg *config.Config, clock func() time.Time, logger *slog.Logger) (*certificates, error) {
	c := &certificates{certFile: cfg.TLSCertFile, keyFile: cfg.TLSKeyFile, clock: clock, logger: logger}
	c.stamp = c.stamps()
	pair, err := readPair(c.certFile, c.keyFile)
	if err != nil {
		return nil, err
	}
	c.use(pair)
	return c, nil
}

// Limits of HTTP/2 beside those of every request: what one connection may have going
// on and buffered. Bodies are 64 KiB at most.
const (
	maxStreams          = 100
	maxBufferConnection = 256 << 10
	maxBufferStream     = 64 << 10
)

// maxMultiplexed is how many connections speak HTTP/2 at once, but for those of proxies. A
// connection has a hundred streams, net/http lets four hundred more wait, and each costs 8 KiB
// before a handler sees it: a hundred connections that only began and reset streams held
// 400 MiB. The others speak HTTP/1.1, and lose nothing by it but that requests wait in turn.
const maxMultiplexed = 16

// serve makes an HTTP server speak TLS, with HTTP/2 and HTTP/1.1.
func (c *certificates) serve(s *http.Server) {
	plain := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get, NextProtos: []string{"http/1.1"}}
	s.TLSConfig = &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: c.get,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if slices.Contains(hello.SupportedProtos, "h2") && !limit.ConnOf(hello.Conn).Multiplex() {
				return plain, nil
			}
			return nil, nil //nolint:nilnil // the configuration is as it is
		},
	}
	s.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams:          maxStreams,
		MaxReceiveBufferPerConnection: maxBufferConnection,
		MaxReceiveBufferPerStream:     maxBufferStream,
		SendPingTimeout:               s.IdleTimeout,
		WriteByteTimeout:              s.WriteTimeout,
	}
}

// get returns the certificate for a handshake. Where the files are slow to read, one
// handshake waits and no other.
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	now := c.clock().Unix()
	if last := c.looked.Load(); now != last && c.looked.CompareAndSwap(last, now) && c.mu.TryLock() {
		defer c.mu.Unlock()
		c.read()
	}
	return c.current.Load(), nil
}

// look reads the files again if they are others than before.
func (c *certificates) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read()
}

func (c *certificates) read() {
	c.warnOfExpiry()
	now := c.stamps() // before the files are read: what changes meanwhile is seen next time
	if now == c.stamp {
		return
	}
	c.stamp = now
	pair, err := readPair(c.certFile, c.keyFile)
	if err != nil {
		c.logger.Error("the new TLS certificate is not good, and the one before stays in use; put a good pair of files in place, and it is read without a restart", "error", err, "in_use_until", c.current.Load().Leaf.NotAfter)
		return
	}
	c.logger.Info("the TLS certificate was read again", "file", c.certFile, "not_after", pair.Leaf.NotAfter)
	c.warned = time.Time{}
	c.use(pair)
}

// lookInterval is how long it takes at most until somebody is told of a certificate
// that expires although no client comes.
const lookInterval = time.Minute

// watch looks at the files again and again. The function that it returns ends that.
func (c *certificates) watch(ctx context.Context) (stop func()) {
	if c == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		ticker := time.NewTicker(lookInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				c.look()
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

func (c *certificates) use(pair *tls.Certificate) {
	c.current.Store(pair)
	c.warnOfExpiry()
}

// A certificate that ends within expiryNotice is warned of once in expiryRepeat.
const (
	expiryNotice = 14 * 24 * time.Hour
	expiryRepeat = 24 * time.Hour
)

func (c *certificates) warnOfExpiry() {
	now, end := c.clock(), c.current.Load().Leaf.NotAfter
	if now.Add(expiryNotice).Before(end) || now.Sub(c.warned) < expiryRepeat {
		return
	}
	c.warned = now
	if now.After(end) {
		c.logger.Error("the TLS certificate has expired, and clients refuse it; put a new pair of files in place, and it is read without a restart", "file", c.certFile, "not_after", end)
		return
	}
	c.logger.Warn("the TLS certificate expires soon; put a new pair of files in place, and it is read without a restart", "file", c.certFile, "not_after", end)
}

func (c *certificates) stamps() (both [2]stamp) {
	for i, path := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(path); err == nil {
			both[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return both
}

// readPair reads a certificate and its key. The errors hold nothing of the key.
func readPair(certFile, keyFile string) (*tls.Certificate, error) {
	chain, err := os.ReadFile(certFile)
	if err != nil {
		return nil, fmt.Errorf("tls-cert-file (AGENTIDP_TLS_CERT_FILE): %w", err)
	}
	info, err := os.Stat(keyFile)
	if err != nil {
		return nil, fmt.Errorf("tls-key-file (AGENTIDP_TLS_KEY_FILE): %w", err)
	}
	if !config.Private(info) {
		return nil, fmt.Errorf("tls-key-file (AGENTIDP_TLS_KEY_FILE): %s can be read by others (mode %04o); run: chmod 600 %[1]s", keyFile, info.Mode().Perm())
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("tls-key-file (AGENTIDP_TLS_KEY_FILE): %w", err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("tls-cert-file (AGENTIDP_TLS_CERT_FILE): %s and %s are not a certificate and its key in PEM: %s", certFile, keyFile, strings.TrimPrefix(err.Error(), "tls: "))
	}
	return &pair, nil
}
