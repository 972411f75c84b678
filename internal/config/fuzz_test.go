package config

import (
	"slices"
	"strings"
	"testing"
)

// Whatever a file holds, it is read or refused: each fault is one line that begins
// with the file's name, and what is read belongs to a setting and is not empty.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		"", "listen: 127.0.0.1:8080\n", "hosts: [a, 'b,c']\n", "a: &x 1\nb: *x\n", "- a\n", "---\n---\n", "\"a\\nb\": {c: d}", "? [a]\n: b\n", "<<: {a: b}\n", "!!binary a: b", "listen: |\n  a\n  b\n",
	} {
		f.Add(seed)
	}
	keys := []Key{{Name: "listen"}, {Name: "hosts", Sep: ","}}
	f.Fuzz(func(t *testing.T, text string) {
		root, err := parse("FILE", text)
		file := &File{path: "FILE", entries: map[string]entry{}}
		if err == nil {
			err = file.take(root, keys)
		}
		if err != nil {
			for line := range strings.Lines(err.Error()) {
				if !strings.HasPrefix(line, "FILE:") {
					t.Errorf("%q: %q", text, line)
				}
			}
		}
		for name, e := range file.entries {
			if e.line < 1 || strings.TrimSpace(e.text) == "" || !slices.ContainsFunc(keys, func(k Key) bool { return k.Name == name }) {
				t.Errorf("%q: %s is %q in line %d", text, name, e.text, e.line)
			}
		}
	})
}
