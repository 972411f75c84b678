package cli

import (
	"io"
	"log/slog"
)

// newLogger returns the program's logger: text on a terminal, JSON elsewhere,
// unless the format says otherwise.
func newLogger(w io.Writer, format string) *slog.Logger {
	if format == "text" || format == "auto" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, nil))
	}
	return slog.New(slog.NewJSONHandler(w, nil))
}
