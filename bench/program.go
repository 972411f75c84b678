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
func measureProgram(ctx context.Context, binary string) (err error) {
	info, err := os.Stat(binary)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %.1f MB\n", binary, float64(info.Size())/1e6)
	dir, err := os.MkdirTemp("", "agentidp-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, start := range []string{"first start (makes database and keys)", "second start"} {
		if err := measureStart(ctx, binary, filepath.Join(dir, "data"), start); err != nil {
			return err
		}
	}
	fmt.Println()
	return nil
}

func measureStart(ctx context.Context, binary, dataDir, name string) (err error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, binary, "serve", "--listen", address, "--metrics-listen", "127.0.0.1:0", "--data-dir", dataDir)
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, cmd.Process.Signal(os.Interrupt), cmd.Wait())
	}()
	if err := waitReady(ctx, "http://"+address+"/readyz"); err != nil {
		return err
	}
	ready := time.Since(begin)
	time.Sleep(time.Second) // idle
	idle := "unknown memory"
	if mib, ok := residentMemory(cmd.Process.Pid); ok {
		idle = fmt.Sprintf("%.1f MiB resident", mib)
	}
	fmt.Printf("%s: ready after %d ms, %s idle\n", name, ready.Milliseconds(), idle)
	return nil
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

// residentMemory reads VmRSS, in MiB, where the system has it.
func residentMemory(pid int) (mib float64, ok bool) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, "VmRSS:"); found {
			var kib float64
			if _, err := fmt.Sscan(value, &kib); err == nil {
				return kib / 1024, true
			}
		}
	}
	return 0, false
}
