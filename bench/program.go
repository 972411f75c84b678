package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// measureProgram starts the built program twice, on a new and on an existing
// database, and says how long it takes until it is ready, how much memory it
// holds when idle, and how large it is.
func (b *bench) measureProgram(ctx context.Context, e *engine) (err error) {
	info, err := os.Stat(b.binary)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %.1f MB\n", b.binary, float64(info.Size())/1e6)
	p, err := newPlace(ctx, e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.remove(ctx)) }()
	for _, start := range []string{"first start (makes database and keys)", "second start"} {
		s, err := measureStart(ctx, b.binary, p)
		if err != nil {
			return err
		}
		fmt.Printf("%s, %s: %s\n", e.name, start, s)
		b.book.set(e.name+": "+startToReady, s.ready)
		if s.idle > 0 {
			b.book.set(e.name+": "+idleMemory, s.idle)
		}
	}
	fmt.Println()
	return nil
}

// started is what the program took to start.
type started struct {
	ready float64 // ms
	idle  float64 // MiB; 0: the system does not tell
}

func (s *started) String() string {
	return fmt.Sprintf("ready after %.0f ms, %.1f MiB resident when idle", s.ready, s.idle)
}

func measureStart(ctx context.Context, binary string, p *place) (*started, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, binary, "serve", "--listen", address, "--metrics-listen", "127.0.0.1:0", "--data-dir", filepath.Join(p.folder, "data")) //nolint:gosec // the program that whoever measures has named
	if p.url != "" {
		cmd.Env = append(os.Environ(), "AGENTIDP_DATABASE_URL="+p.url, "AGENTIDP_MASTER_KEY="+p.master)
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	err = waitReady(ctx, "http://"+address+"/readyz")
	s := &started{ready: float64(time.Since(begin).Microseconds()) / 1000}
	if err == nil {
		time.Sleep(time.Second) // idle
		s.idle = residentMemory(cmd.Process.Pid)
	}
	return s, errors.Join(err, cmd.Process.Signal(os.Interrupt), cmd.Wait())
}

func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func waitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close() // only the status counts
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s never answered 200", url)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// residentMemory reads VmRSS, in MiB; 0 where the system does not have it.
func residentMemory(pid int) float64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, "VmRSS:"); found {
			var kib float64
			if _, err := fmt.Sscan(value, &kib); err == nil {
				return kib / 1024
			}
		}
	}
	return 0
}
