package verify

import (
	"fmt"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

func TestProbesAtOnce(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	p := probes{now: func() time.Time { return now }}
	var leave []func()
	for i := range probesAtOnce {
		end, err := p.enter(fmt.Sprint("host", i))
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, end)
	}
	if _, err := p.enter("another"); agentidp.AsError(err).Kind != agentidp.TooMany {
		t.Errorf("one more: %v", err)
	}
	for _, end := range leave {
		end()
	}

	// Hosts are forgotten when they limit nothing, so many names cost no memory.
	for i := range 100 {
		end, err := p.enter(fmt.Sprint("host", i))
		if err != nil {
			t.Fatal(err)
		}
		end()
	}
	now = now.Add(probeInterval)
	end, err := p.enter("busy")
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(probeInterval)
	if _, err := p.enter("late"); err != nil || len(p.hosts) != 2 {
		t.Errorf("%d hosts, %v", len(p.hosts), err)
	}
	end()
}
