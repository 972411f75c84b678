package app

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// serverLog takes what net/http has to say. Any stranger can make a TLS handshake
// fail, as often as he likes, so of those at most one a second is told, with how many
// were not.
type serverLog struct {
	logger *slog.Logger
	clock  func() time.Time

	mu     sync.Mutex
	told   time.Time
	untold int
}

var handshakeError = []byte("TLS handshake error")

// Write takes one message.
func (l *serverLog) Write(message []byte) (int, error) {
	text := strings.TrimSpace(string(message))
	if !bytes.Contains(message, handshakeError) {
		l.logger.Warn(text)
		return len(message), nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := l.clock(); now.Sub(l.told) < time.Second {
		l.untold++
	} else {
		l.logger.Warn(text, "untold", l.untold)
		l.told, l.untold = now, 0
	}
	return len(message), nil
}
