package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// event is a line of go test -json (go doc test2json).
type event struct {
	Action, Package, Test, Output, ImportPath string
}

// reader takes what a command prints, line by line, scans it and shows it.
type reader struct {
	scan  *scan
	out   io.Writer
	rest  []byte              // of a line that is not yet whole
	tests map[string][]string // what running tests said
}

func newReader(s *scan, out io.Writer) *reader {
	return &reader{scan: s, out: out, tests: map[string][]string{}}
}

// Write takes a part of the output.
func (r *reader) Write(b []byte) (int, error) {
	r.rest = append(r.rest, b...)
	for {
		line, rest, whole := bytes.Cut(r.rest, []byte("\n"))
		if !whole {
			return len(b), nil
		}
		r.line(line)
		r.rest = rest
	}
}

// end takes the last line, if it has no end.
func (r *reader) end() {
	if len(r.rest) > 0 {
		r.line(r.rest)
	}
}

func (r *reader) line(line []byte) {
	var e event
	if !bytes.HasPrefix(line, []byte("{")) || json.Unmarshal(line, &e) != nil || e.Action == "" {
		r.scan.take("output", line)
		fmt.Fprintf(r.out, "%s\n", line)
		return
	}
	where := e.Package + e.ImportPath
	if e.Test != "" {
		where += " " + e.Test
	}
	if e.Output != "" {
		r.scan.take(where, []byte(e.Output))
	}
	r.show(where, &e)
}

// show prints what go test without -json would have printed of an event: what a test
// said only if it failed.
func (r *reader) show(where string, e *event) {
	switch {
	case e.Action == "build-output":
		fmt.Fprint(r.out, e.Output)
	case e.Test != "" && e.Action == "output":
		r.tests[where] = append(r.tests[where], e.Output)
	case e.Test != "" && e.Action == "fail":
		fmt.Fprint(r.out, strings.Join(r.tests[where], ""))
		delete(r.tests, where)
	case e.Test != "" && (e.Action == "pass" || e.Action == "skip"):
		delete(r.tests, where)
	case e.Action == "output" && e.Output != "PASS\n" && !strings.HasPrefix(e.Output, "FAIL\n"):
		fmt.Fprint(r.out, e.Output)
	case e.Test == "" && e.Action == "fail": // a test that a panic ended has no end of its own
		for name, said := range r.tests {
			if strings.HasPrefix(name, e.Package+" ") {
				fmt.Fprint(r.out, strings.Join(said, ""))
				delete(r.tests, name)
			}
		}
	}
}
