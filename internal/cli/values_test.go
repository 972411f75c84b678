package cli

import (
	"strings"
	"testing"
	"time"
)

func TestDurationsAreReadInDaysToo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		given string
		want  time.Duration // 0: refused
	}{
		{"30d", 720 * time.Hour},
		{"1h30m", 90 * time.Minute},
		{"d", 0},
		{"-1d", 0},
		{"1.5d", 0},
		{"99999d", 0}, // nobody means that
		{"soon", 0},
		{"", 0},
	} {
		got, err := parseDuration(tt.given)
		if got != tt.want || (err == nil) != (tt.want != 0) || err != nil && !strings.Contains(err.Error(), "such as 30d") {
			t.Errorf("%q: %s, %v, want %s", tt.given, got, err, tt.want)
		}
	}
}

func TestInstants(t *testing.T) {
	t.Parallel()
	before := time.Now()
	if now, err := parseInstant("now"); err != nil || now.Before(before) || now.After(time.Now()) {
		t.Errorf("now: %s, %v", now, err)
	}
	if at, err := parseInstant("2026-11-21T12:00:00+01:00"); err != nil || instant(at) != "2026-11-21T11:00:00Z" {
		t.Errorf("another zone: %s, %v", at, err)
	}
	for _, given := range []string{"", "yesterday", "2026-11-21", "2026-11-21T12:00:00"} {
		if _, err := parseInstant(given); err == nil || strings.Contains(err.Error(), "parsing time") {
			t.Errorf("%q: %v", given, err)
		}
	}
}

func TestRepositoriesHaveNumbers(t *testing.T) {
	t.Parallel()
	for given, good := range map[string]bool{"74": true, strings.Repeat("9", 20): true, strings.Repeat("9", 21): false, "": false, "seventy": false, "7 4": false, "-1": false} {
		if _, err := parseNumber(given); (err == nil) != good {
			t.Errorf("%q: %v", given, err)
		}
	}
}

func TestDurationsAreWrittenAsTheyAreGiven(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"0s", "1s", "15m", "1h", "1h30m", "1m30s", "23h", "90d", "1h0m1s"} {
		d, err := parseDuration(text)
		if err != nil || durationText(d) != text {
			t.Errorf("%s is written %s, %v", text, durationText(d), err)
		}
	}
}
