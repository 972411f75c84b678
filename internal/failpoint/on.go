//go:build failpoints

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Enabled says whether points can be made to fail.
const Enabled = true

// File is the variable of the environment that names a file with what happens in a
// process: see [Set] for its lines, each POINT=ACTION. It is read again whenever it has
// changed, so that a test can break a running server and mend it.
const File = "FAILPOINTS"

// action is what happens at a point.
type action struct {
	verb string        // fail, kill, wait
	from int           // the first passage that it happens at
	once bool          // and the only one
	time time.Duration // to wait
}

var (
	mu      sync.Mutex
	actions = map[Point]action{}
	passed  = map[Point]int{} // since its action was set
	read    fileState
)

type fileState struct {
	modified time.Time
	size     int64
}

// Set says what happens at a point from now on: "fail" or "kill" (the process, as
// SIGKILL does), each time; with ":N" at the Nth passage from now alone, with ":N+" from
// it on; "wait:1s" waits; "" lets it pass. Anything else panics: a test that sets it
// would prove nothing.
func Set(p Point, what string) {
	mu.Lock()
	defer mu.Unlock()
	set(p, what)
}

func set(p Point, what string) {
	delete(actions, p)
	delete(passed, p)
	if what == "" {
		return
	}
	verb, argument, _ := strings.Cut(what, ":")
	a := action{verb: verb}
	var err error
	switch verb {
	case "wait":
		a.time, err = time.ParseDuration(argument)
	case "fail", "kill":
		if argument != "" {
			a.once = !strings.HasSuffix(argument, "+")
			a.from, err = strconv.Atoi(strings.TrimSuffix(argument, "+"))
		}
	default:
		err = fmt.Errorf("unknown action %q", verb)
	}
	if err != nil {
		panic(fmt.Sprintf("failpoint %s=%s: %v", p, what, err))
	}
	actions[p] = a
}

// Passed returns how often a point was passed since its action was set.
func Passed(p Point) int {
	mu.Lock()
	defer mu.Unlock()
	return passed[p]
}

// Hit is where a point is passed. nil: go on.
func Hit(p Point) error {
	a, happens := next(p)
	if !happens {
		return nil
	}
	switch a.verb {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it arrives
	case "wait":
		time.Sleep(a.time)
		return nil
	}
	return fmt.Errorf("%s: %w", p, ErrInjected)
}

// next counts a passage and says what happens at it.
func next(p Point) (action, bool) {
	mu.Lock()
	defer mu.Unlock()
	reload()
	a, ok := actions[p]
	if !ok {
		return a, false
	}
	passed[p]++
	n := passed[p]
	return a, a.from == 0 || n == a.from || n > a.from && !a.once
}

// reload reads the file, if the environment names one and it has changed. What it no
// longer names passes again.
func reload() {
	path := os.Getenv(File)
	if path == "" {
		return
	}
	info, err := os.Stat(path)
	if err != nil || read == (fileState{info.ModTime(), info.Size()}) {
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return
	}
	read = fileState{info.ModTime(), info.Size()}
	clear(actions)
	clear(passed)
	for line := range strings.Lines(string(text)) {
		if point, what, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			set(Point(point), what)
		}
	}
}
