package cli

import (
	"io"
	"log/slog"
)

// newLogger returns the program's logger: text on a terminal, JSON elsewhere,
// unless the format says otherwise.
func newLogger(w io.Writer, format, level string) *slog.Logger {
	options := &slog.HandlerOptions{Level: levels[level]}
	if format == "text" || format == "auto" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

var levels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
