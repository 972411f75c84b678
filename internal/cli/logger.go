package cli

import (
	"io"
	"log/slog"
	"os"
)

// newLogger returns the program's logger: text on a terminal, JSON elsewhere,
// unless the format says otherwise.
func newLogger(w io.Writer, format string) *slog.Logger {
	if format == "text" || format == "auto" && isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, nil))
	}
	return slog.New(slog.NewJSONHandler(w, nil))
}

// isTerminal reports whether w is a character device, which is close enough to
// decide about colours and log formats.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
