package app

import (
	"bytes"
	"log/slog"
	"strings"
	"time"

	"github.com/sentryagent/agentidp/internal/limit"
)

// serverLog takes what net/http has to say. Any stranger can make a TLS handshake
// fail, as often as he likes, so of those at most one a second is told, with how many
// were not.
type serverLog struct {
	logger     *slog.Logger
	clock      func() time.Time
	handshakes limit.Sampler
}

var handshakeError = []byte("TLS handshake error")

// Write takes one message.
func (l *serverLog) Write(message []byte) (int, error) {
	text := strings.TrimSpace(string(message))
	if !bytes.Contains(message, handshakeError) {
		l.logger.Warn(text)
	} else if before, ok := l.handshakes.Due(l.clock()); ok {
		l.logger.Warn(text, "not_logged_before", before)
	}
	return len(message), nil
}
