package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/sentryagent/agentidp"
)

// ready is the first line that a child prints.
type ready struct {
	URL        string                     `json:"url"`
	AdminToken string                     `json:"adminToken,omitempty"`
	AgentID    string                     `json:"agentId,omitempty"`
	Credential agentidp.CreatedCredential `json:"credential,omitzero"` // of the agent, good for as long as the run
}

// usage is what a child has used so far; it answers each line on its standard
// input with one.
type usage struct {
	CPU     time.Duration `json:"cpu"`
	Mallocs uint64        `json:"mallocs"`
	Bytes   uint64        `json:"bytes"`
	Batches int64         `json:"batches"`
	Members int64         `json:"members"`
	Syncs   int64         `json:"syncs"`          // of SQLite's files
	Heap    uint64        `json:"heap,omitempty"` // what lives; only where it was asked to collect

	Answered map[int]int64 `json:"answered,omitempty"` // by status: of an attacker
}

// child is a server in a process of its own.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	ready ready
}

func startChild(ctx context.Context, pin bool, role string, env ...string) (*child, error) {
	return launch(ctx, placed(pin, serving), role, nil, env...)
}

// launch starts a child behind other words of a command, and says something to it first.
func launch(ctx context.Context, before []string, role string, say []byte, env ...string) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	words := slices.Concat(before, []string{exe})
	c := &child{cmd: exec.CommandContext(ctx, words[0], words[1:]...)}
	c.cmd.Env = append(append(os.Environ(), roleVariable+"="+role), env...)
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	_, err = c.in.Write(say)
	if err = errors.Join(err, c.read(&c.ready)); err != nil {
		return nil, fmt.Errorf("start the %s: %w", role, errors.Join(err, c.stop()))
	}
	return c, nil
}

func (c *child) read(v any) error {
	line, err := c.out.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, v)
}

func (c *child) usage() (usage, error) { return c.ask("") }

// collect has the garbage collected first.
func (c *child) collect() (usage, error) { return c.ask(collectWord) }

// collectWord is the line on which a child collects its garbage.
const collectWord = "collect"

func (c *child) ask(word string) (u usage, err error) {
	if _, err = fmt.Fprintln(c.in, word); err != nil {
		return u, err
	}
	return u, c.read(&u)
}

func (c *child) stop() error {
	return errors.Join(c.in.Close(), c.cmd.Wait())
}

// attend is a child's side: it says that it is ready and answers each line with
// its usage, until its standard input ends.
func attend(r ready, extra func(*usage)) error { return attendTo(os.Stdin, r, extra) }

func attendTo(in io.Reader, r ready, extra func(*usage)) error {
	enc := json.NewEncoder(os.Stdout)
	if err := enc.Encode(r); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		cpu, err := cpuTime()
		if err != nil {
			return err
		}
		u := usage{CPU: cpu}
		if lines.Text() == collectWord {
			runtime.GC()
			runtime.GC() // what pools held
		}
		var mem runtime.MemStats
		runtime.ReadMemStats(&mem)
		u.Mallocs, u.Bytes, u.Heap = mem.Mallocs, mem.TotalAlloc, mem.HeapAlloc
		extra(&u)
		if err := enc.Encode(u); err != nil {
			return err
		}
	}
	return lines.Err()
}

// cpuTime returns what this process has used so far, in user and system mode.
func cpuTime() (time.Duration, error) {
	var rusage syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &rusage)
	return time.Duration(rusage.Utime.Nano() + rusage.Stime.Nano()), err
}
