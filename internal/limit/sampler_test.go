package limit_test

import (
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/limit"
)

func TestOneASecondIsToldWithTheNumberOfTheOthers(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	var s limit.Sampler
	for _, step := range []struct {
		name     string
		after    time.Duration
		keptBack int64
		told     bool
	}{
		{"the first", 0, 0, true},
		{"at once", 0, 0, false},
		{"within the second", 999 * time.Millisecond, 0, false},
		{"a second later", time.Second, 2, true},
		{"one of its own second", 3 * time.Second, 0, true},
		{"after the clock was set back", -time.Hour, 0, true},
		{"in that second", -time.Hour + time.Millisecond, 0, false},
		{"and after it", -time.Hour + time.Second, 1, true},
	} {
		if keptBack, told := s.Due(start.Add(step.after)); keptBack != step.keptBack || told != step.told {
			t.Errorf("%s: %d, %t; want %d, %t", step.name, keptBack, told, step.keptBack, step.told)
		}
	}
}
