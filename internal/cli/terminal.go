package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"
)

// defaultWidth is that of a terminal which does not say.
const defaultWidth = 80

// terminalWidth returns how many columns a terminal has, and 0 for what is none.
func terminalWidth(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	n, _, _ := term.GetSize(int(f.Fd())) // 0 is as good as an error
	return cmp.Or(n, defaultWidth)
}

// isTerminal reports whether a person reads w.
func isTerminal(w io.Writer) bool { return terminalWidth(w) > 0 }

// prompt asks for a secret at a terminal, where it is not shown. There is none to ask
// at when it returns false.
func prompt(ctx context.Context, std *IO, what string) (secret string, asked bool, err error) {
	f, ok := std.In.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", false, nil
	}
	fmt.Fprintf(std.Err, "%s (it is not shown): ", what)
	defer fmt.Fprintln(std.Err)
	secret, err = readHidden(ctx, int(f.Fd()))
	return strings.TrimSpace(secret), true, err
}

// readHidden reads a line that is not shown. Whoever is interrupted gets back a
// terminal that shows what is typed.
func readHidden(ctx context.Context, fd int) (string, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("ask at the terminal: %w", err)
	}
	type answer struct {
		line []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		answered <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		return "", errors.Join(errors.New("interrupted"), term.Restore(fd, before))
	case a := <-answered:
		if a.err == nil && len(a.line) == 0 {
			a.err = usageError{errors.New("nothing was typed")}
		}
		return string(a.line), a.err
	}
}

// counter tells somebody who waits at a terminal how far a long work has come, in a
// line of standard error that is taken away at the end.
type counter struct {
	out   io.Writer // nil: nobody waits
	n     int
	shown bool
}

// newCounter counts where it disturbs nothing: on a terminal, beside an output that
// is not being printed there at the same time.
func newCounter(std *IO, printing bool) *counter {
	if !isTerminal(std.Err) || printing && isTerminal(std.Out) {
		return &counter{}
	}
	return &counter{out: std.Err}
}

// add counts one, and says so at every hundredth.
func (c *counter) add() {
	c.n++
	if c.out != nil && c.n%100 == 0 {
		fmt.Fprintf(c.out, "\r%d …", c.n)
		c.shown = true
	}
}

// done takes the line away.
func (c *counter) done() {
	if c.shown {
		fmt.Fprint(c.out, "\r\x1b[K")
		c.shown = false
	}
}
