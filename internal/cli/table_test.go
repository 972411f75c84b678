package cli

import (
	"strings"
	"testing"
)

const (
	anID      = "01890000-0000-7000-8000-000000000000"
	anInstant = "2026-11-21T12:00:00Z"
)

func TestTablesFitATerminal(t *testing.T) {
	t.Parallel()
	headings := []string{"DECISION", "AT", "CODE", "REPOSITORY"}
	row := []string{anID, anInstant, "trust_policy_violation", "an-organization/a-repository"}
	for _, tt := range []struct {
		name  string
		width int // 0: no terminal
		want  string
		left  string // on standard error
	}{
		{"no terminal, and nothing is cut", 0,
			"DECISION                              AT                    CODE                    REPOSITORY\n" +
				anID + "  " + anInstant + "  trust_policy_violation  an-organization/a-repository\n", ""},
		{"a wide terminal", 200,
			"DECISION                              AT                    CODE                    REPOSITORY\n" +
				anID + "  " + anInstant + "  trust_policy_violation  an-organization/a-repository\n", ""},
		{"the longest is shortened first, in its middle", 110,
			"DECISION                              AT                    CODE                    REPOSITORY\n" +
				anID + "  " + anInstant + "  trust_policy_violation  an-organizati…a-repository\n", ""},
		{"then all that are as long", 100,
			"DECISION                              AT                    CODE                 REPOSITORY\n" +
				anID + "  " + anInstant + "  trust_pol…violation  an-organi…epository\n", ""},
		{"columns that find no room are left out, and named", 75,
			"DECISION                              AT                    CODE\n" +
				anID + "  " + anInstant + "  trust_p…olation\n", "Left out for want of room: REPOSITORY (-o wide prints all).\n"},
		{"ids and instants stay whole", 60,
			"DECISION                              AT\n" + anID + "  " + anInstant + "\n", "Left out for want of room: CODE, REPOSITORY (-o wide prints all).\n"},
		{"the first column stays", 10,
			"DECISION\n" + anID + "\n", "Left out for want of room: AT, CODE, REPOSITORY (-o wide prints all).\n"},
	} {
		var out, left strings.Builder
		err := writeTable(&IO{Out: &out, Err: &left}, tt.width, append([]string{}, headings...), [][]string{append([]string{}, row...)})
		if err != nil || out.String() != tt.want || left.String() != tt.left {
			t.Errorf("%s: %v\n%s%s\nwant\n%s%s", tt.name, err, out.String(), left.String(), tt.want, tt.left)
		}
		for line := range strings.Lines(out.String()) {
			if n := len([]rune(line)) - 1; tt.width > len(anID) && n > tt.width {
				t.Errorf("%s: a line of %d columns: %s", tt.name, n, line)
			}
		}
	}
}

func TestACounterIsForWhoeverWaits(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	c := &counter{out: &out}
	for range 250 {
		c.add()
	}
	c.done()
	c.done()
	if got, want := out.String(), "\r100 …\r200 …\r\x1b[K"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	silent := newCounter(&IO{Out: &out, Err: &out}, false) // neither is a terminal
	for range 100 {
		silent.add()
	}
	if silent.done(); silent.shown {
		t.Error("it was shown where nobody looks")
	}
}
