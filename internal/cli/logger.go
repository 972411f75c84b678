package cli

import (
	"io"
	"log/slog"
	"time"

	"github.com/sentryagent/agentidp/internal/logpipe"
)

// newLogger returns the program's logger: text on a terminal, JSON elsewhere,
// unless the format says otherwise.
func newLogger(w io.Writer, format, level string) *slog.Logger {
	return slog.New(newHandler(w, format == "text" || format == "auto" && isTerminal(w), level))
}

func newHandler(w io.Writer, text bool, level string) slog.Handler {
	options := &slog.HandlerOptions{Level: levels[level]}
	if text {
		return slog.NewTextHandler(w, options)
	}
	return slog.NewJSONHandler(w, options)
}

var levels = map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}

// lastWords is how long the end waits for somebody to read the rest of the log.
const lastWords = 2 * time.Second

// pipeLog puts a pipe before standard error, so that a server whose log nobody reads
// goes on, and also comes to its end. All that the process still says goes through it.
func pipeLog(std *IO, format, level string) (*slog.Logger, *logpipe.Pipe) {
	text := format == "text" || format == "auto" && isTerminal(std.Err)
	pipe := logpipe.New(std.Err, func(w io.Writer, dropped int64) {
		slog.New(newHandler(w, text, level)).Error("lines of the log are missing here, because nobody read it or it could not be written; look at what takes the server's standard error", "dropped", dropped)
	})
	std.Err = pipe
	std.rest = func() { pipe.Close(lastWords) }
	return slog.New(newHandler(pipe, text, level)), pipe
}
