package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/sentryagent/agentidp/internal/printed"
)

// What is a secret by its looks. A token needs no signature to be one: whoever printed
// it would have printed that too.
var looks = []struct {
	what    string
	pattern *regexp.Regexp
}{
	{"a token", regexp.MustCompile(`eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*`)},
	{"a client secret", regexp.MustCompile(`agentidp_cs_[0-9a-f]{32}_[0-9A-Za-z]{20,}`)},
	{"a private key", regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE KEY-----`)},
	{"a private JWK", regexp.MustCompile(`\\?"d\\?"\s*:\s*\\?"[A-Za-z0-9_-]{20,}`)},
}

// scan is what was printed so far, as far as it has to be kept, and what was found.
type scan struct {
	mu       sync.Mutex
	lines    int
	kept     []piece // until the secrets are known
	secrets  []string
	findings []string
}

// piece is something that was printed, and where.
type piece struct {
	where string
	text  []byte
}

// take scans a piece for what looks secret, and keeps it to be held against the
// values that tests named.
func (s *scan) take(where string, text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines++
	s.kept = append(s.kept, piece{where, bytes.Clone(text)})
	for _, l := range looks {
		for _, found := range l.pattern.FindAll(text, -1) {
			s.found(where, l.what, string(found))
		}
	}
}

// found notes a finding, with too little of it to be of use.
func (s *scan) found(where, what, value string) {
	s.findings = append(s.findings, fmt.Sprintf("%s: %s: %.6s… (%d characters)", where, what, value, len(value)))
}

// folder scans the logs that were left in a folder, then everything for the secrets
// that were. It returns how many logs there were.
func (s *scan) folder(dir string) (logs int, err error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	lines := s.lines
	for _, file := range files {
		content, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil {
			return 0, err
		}
		switch filepath.Ext(file.Name()) {
		case printed.LogSuffix:
			logs++
			s.take(file.Name(), content)
		case printed.SecretSuffix:
			if secret := string(content); !slices.Contains(s.secrets, secret) {
				s.secrets = append(s.secrets, secret)
			}
		}
	}
	s.lines = lines
	for _, secret := range s.secrets {
		for _, p := range s.kept {
			if bytes.Contains(p.text, []byte(secret)) {
				s.found(p.where, "a value that a test named", secret)
			}
		}
	}
	return logs, nil
}

// report returns what was found, or nil.
func (s *scan) report() error {
	if len(s.findings) == 0 {
		return nil
	}
	const most = 50
	text := fmt.Sprintf("%d secrets were printed:\n  %s", len(s.findings), strings.Join(s.findings[:min(most, len(s.findings))], "\n  "))
	return errors.New(text)
}
