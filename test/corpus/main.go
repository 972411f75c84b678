// Command corpus runs go test -json and holds what ran against a page that lists cases by
// id (docs/security-cases.md, docs/reliability.md): each row that names Go tests must have
// one that passed and has the id in its name, as A-051 or A051. A test that was skipped,
// or only mentions the id in its source, proves nothing.
//
// It hands on what the command prints, and ends with its exit code, or with 1 if a row is
// not proven.
//
// usage: corpus -page PAGE COMMAND…
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strings"
)

func main() {
	page := flag.String("page", "", "the page that lists the cases")
	flag.Parse()
	if *page == "" || flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code, err := run(ctx, *page, flag.Args(), os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "corpus:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// run runs the command and returns its exit code. An error names the rows that nothing
// proved, or says why that cannot be told.
func run(ctx context.Context, page string, command []string, out io.Writer) (int, error) {
	text, err := os.ReadFile(page)
	if err != nil {
		return 1, err
	}
	rows := listed(string(text))
	if len(rows) == 0 {
		return 1, fmt.Errorf("%s lists no case that a Go test proves", page)
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr
	events, err := cmd.StdoutPipe()
	if err != nil {
		return 1, err
	}
	if err := cmd.Start(); err != nil {
		return 1, err
	}
	proven, err := passed(events, out)
	if err := errors.Join(err, cmd.Wait()); err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			return max(exit.ExitCode(), 1), nil // the tests say why; what did not run is no news then
		}
		return 1, err
	}
	var missing []string
	for _, id := range rows {
		if !proven[id] {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		return 1, fmt.Errorf("%s: no test that passed has the id in its name: %s", page, strings.Join(missing, " "))
	}
	return 0, nil
}

var (
	row      = regexp.MustCompile(`(?m)^\| ([AR]-\d{2,3}) \| [^|]+ \| (.*) \|$`)
	goTest   = regexp.MustCompile("`Test\\w+`")
	idInName = regexp.MustCompile(`(?:^|[^A-Z])([AR])-?(\d{3}|\d{2})(?:\D|$)`) // SHA256 has none
)

// listed returns the ids of the rows that name a Go test, and do not only wait for one.
func listed(page string) []string {
	var ids []string
	for _, r := range row.FindAllStringSubmatch(page, -1) {
		if goTest.MatchString(r[2]) && !strings.HasPrefix(r[2], "waits: ") {
			ids = append(ids, r[1])
		}
	}
	return ids
}

// event is what go test -json says of a test; there is more.
type event struct{ Action, Test string }

// passed reads the events, hands them on, and returns the ids in the names of the tests
// that passed.
func passed(events io.Reader, out io.Writer) (map[string]bool, error) {
	ids := map[string]bool{}
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if _, err := out.Write(line); err != nil {
			return nil, err
		}
		var e event
		if json.Unmarshal(line, &e) == nil && e.Action == "pass" {
			for _, id := range named(e.Test) {
				ids[id] = true
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return ids, nil
		case err != nil:
			return nil, err
		}
	}
}

// named returns the ids in a test's name.
func named(test string) []string {
	var ids []string
	for len(test) > 0 {
		at := idInName.FindStringSubmatchIndex(test)
		if at == nil {
			break
		}
		ids = append(ids, test[at[2]:at[3]]+"-"+test[at[4]:at[5]])
		test = test[at[5]:]
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
