package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sentryagent/agentidp"
)

const (
	gap      = 2 // between columns
	shortest = 8 // what is left of a shortened cell
	ellipsis = "…"
)

// writeTable prints rows under their headings, in columns as wide as they need to be.
// On a terminal of a width (0: none) a row is one line: text is shortened in its
// middle, the longest first, and where even that is not enough, columns are left out
// from the right, and named to whoever reads errors. Ids and instants stay whole,
// because people copy them.
func writeTable(std *IO, width int, headings []string, rows [][]string) error {
	all := append([][]string{headings}, rows...)
	if width > 0 {
		keep := fit(width, all)
		if keep < len(headings) {
			defer fmt.Fprintf(std.Err, "Left out for want of room: %s (-o wide prints all).\n", strings.Join(headings[keep:], ", "))
			for i := range all {
				all[i] = all[i][:keep]
			}
		}
	}
	w := tabwriter.NewWriter(std.Out, 0, 0, gap, ' ', 0)
	for _, row := range all {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// fit shortens the cells of a table in place and returns how many columns of it fit.
func fit(width int, table [][]string) (columns int) {
	widths, least := measure(table)
	columns = len(widths)
	for columns > 1 && total(least[:columns]) > width {
		columns--
	}
	for over := total(widths[:columns]) - width; over > 0; over-- {
		widest, size := -1, 0
		for i := range columns {
			if widths[i] > least[i] && widths[i] > size {
				widest, size = i, widths[i]
			}
		}
		if widest < 0 {
			break // a single column that is no text
		}
		widths[widest]--
	}
	for _, row := range table {
		for i := range columns {
			row[i] = shorten(row[i], widths[i])
		}
	}
	return columns
}

// measure returns the width of each column, and the least that it can be given.
func measure(table [][]string) (widths, least []int) {
	widths, least = make([]int, len(table[0])), make([]int, len(table[0]))
	for r, row := range table {
		for i, cell := range row {
			n := len([]rune(cell))
			widths[i] = max(widths[i], n)
			if r > 0 && !isWhole(cell) {
				n = min(n, shortest)
			}
			least[i] = max(least[i], n)
		}
	}
	return widths, least
}

// isWhole reports whether a cell is of no use when it is shortened.
func isWhole(cell string) bool {
	_, err := time.Parse(time.RFC3339, cell)
	return err == nil || agentidp.IsID(cell)
}

func total(widths []int) int {
	n := gap * (len(widths) - 1)
	for _, w := range widths {
		n += w
	}
	return n
}

// shorten takes the middle out of a text: the ends of names differ most.
func shorten(cell string, width int) string {
	text := []rune(cell)
	if len(text) <= width {
		return cell
	}
	head := width / 2
	return string(text[:head]) + ellipsis + string(text[len(text)-(width-head-1):])
}
