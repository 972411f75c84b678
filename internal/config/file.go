package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sentryagent/agentidp/internal/nearest"
)

// Key is a setting that may stand in a file.
type Key struct {
	Name string // that of the flag
	Sep  string // what separates the values of a list; "" where there is one value
}

// File is a configuration file as it was written: one YAML mapping of settings to
// values, read as text. What the text means is the same as for a flag.
type File struct {
	path    string
	entries map[string]entry
}

type entry struct {
	line int
	text string
}

// Lookup returns the text of a setting. A nil File has none.
func (f *File) Lookup(name string) (text string, ok bool) {
	if f == nil {
		return "", false
	}
	e, ok := f.entries[name]
	return e.text, ok
}

// Where says where a setting that the file has stands.
func (f *File) Where(name string) string { return fmt.Sprintf("%s:%d", f.path, f.entries[name].line) }

// ReadFile reads a configuration file. The error names all that is wrong, one a
// line, each with its place. The File is not nil where the text was YAML: it has the
// settings with which nothing is wrong.
func ReadFile(path string, keys []Key) (*File, error) {
	text, mode, err := readText(path)
	if err != nil {
		return nil, err
	}
	root, err := parse(path, text)
	if err != nil {
		return nil, err
	}
	f := &File{path: path, entries: map[string]entry{}}
	errs := []error{f.take(root, keys)}
	for _, name := range f.names() {
		if e := f.entries[name]; mode.read && Masked(e.text) != e.text {
			errs = append(errs, fmt.Errorf("%s: %s: has a password in it, and others can read the file (mode %04o); run: chmod 600 %s, or give it in the environment", f.Where(name), name, mode.perm, path))
		}
	}
	if mode.written {
		errs = append(errs, fmt.Errorf("%s: others can write to it (mode %04o), and so decide whom this server trusts; run: chmod go-w %[1]s", path, mode.perm))
	}
	return f, errors.Join(errs...)
}

// maxFile is more than anybody configures.
const maxFile = 1 << 20

// access is what others may do with a file.
type access struct {
	perm          os.FileMode
	read, written bool
}

func readText(path string) (text string, mode access, err error) {
	// Before it is opened: opening a pipe would wait for a writer.
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return "", mode, fmt.Errorf("config (AGENTIDP_CONFIG): %s is a folder, pipe or device, not a file; write the settings to a YAML file and give its path", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", mode, fmt.Errorf("config (AGENTIDP_CONFIG): %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", mode, fmt.Errorf("config (AGENTIDP_CONFIG): %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", mode, fmt.Errorf("config (AGENTIDP_CONFIG): %w", err)
	}
	if len(b) > maxFile {
		return "", mode, fmt.Errorf("config (AGENTIDP_CONFIG): %s is larger than 1 MiB; give a file of settings", path)
	}
	return string(b), access{info.Mode().Perm(), !Private(info), info.Mode().Perm()&0o022 != 0}, nil
}

var (
	yamlLine = regexp.MustCompile(`^line (\d+): `)
	quoted   = regexp.MustCompile(`'[^']*' `)
)

// parse returns the mapping of the one document; nil where there is nothing but
// comments.
func parse(path, text string) (*yaml.Node, error) {
	dec := yaml.NewDecoder(strings.NewReader(text))
	var doc, second yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err == nil {
		if err = dec.Decode(&second); err == nil {
			return nil, fmt.Errorf("%s:%d: a second document begins; one file has one", path, second.Line)
		}
	}
	if !errors.Is(err, io.EOF) {
		return nil, notYAML(path, err)
	}
	root := doc.Content[0]
	switch {
	case root.Kind == yaml.ScalarNode && root.Tag == "!!null":
		return nil, nil
	case root.Kind != yaml.MappingNode:
		return nil, fmt.Errorf("%s:%d: is no setting; write one a line, such as listen: 127.0.0.1:8080", path, root.Line)
	}
	return root, nil
}

// notYAML tells where the text stops being YAML. What it quotes is left out, because
// it could be a part of a password.
func notYAML(path string, err error) error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	where := path
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		where, text = path+":"+m[1], strings.TrimPrefix(text, m[0])
	}
	return fmt.Errorf("%s: is not YAML: %s; put a value with special characters in quotes", where, quoted.ReplaceAllString(text, ""))
}

// take reads the settings, and returns all that is wrong.
func (f *File) take(root *yaml.Node, keys []Key) error {
	if root == nil {
		return nil
	}
	var errs []error
	lines := map[string]int{}
	for pair := range slices.Chunk(root.Content, 2) {
		name, value := pair[0].Value, pair[1]
		wrong := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("%s:%d: %s: %s", f.path, pair[0].Line, plain(name), fmt.Sprintf(format, args...)))
		}
		if first := lines[name]; first != 0 {
			wrong("is given here again, after line %d; leave one", first)
			continue
		}
		lines[name] = pair[0].Line
		i := slices.IndexFunc(keys, func(k Key) bool { return k.Name == name })
		if i < 0 {
			wrong("%s", unknown(name, value, keys))
			continue
		}
		text, err := keys[i].text(value)
		if err != nil {
			wrong("%v", err)
			continue
		}
		f.entries[name] = entry{pair[0].Line, text}
	}
	return errors.Join(errs...)
}

// text returns a value as one would give it to the flag.
func (k *Key) text(value *yaml.Node) (string, error) {
	switch {
	case value.Kind == yaml.AliasNode:
		return "", errors.New("refers to another value; write it out")
	case value.Kind == yaml.MappingNode:
		return "", errors.New("has keys of its own, and settings are not nested; give one value")
	case value.Kind == yaml.SequenceNode && k.Sep == "":
		return "", errors.New("is a list, and takes one value")
	case value.Kind == yaml.SequenceNode:
		var texts []string
		one := Key{Name: k.Name}
		for _, element := range value.Content {
			text, err := one.text(element)
			if err != nil {
				return "", fmt.Errorf("in line %d: %w", element.Line, err)
			}
			texts = append(texts, strings.ReplaceAll(text, k.Sep, `\`+k.Sep))
		}
		if len(texts) == 0 {
			return "", errors.New("is an empty list; give a value, or leave the line out")
		}
		return strings.Join(texts, k.Sep), nil
	case strings.TrimSpace(value.Value) == "" || value.Tag == "!!null":
		return "", errors.New("has no value; give one, or leave the line out")
	}
	return value.Value, nil
}

// unknown says what to write in place of a key that there is not.
func unknown(name string, value *yaml.Node, keys []Key) string {
	var known []string
	for _, k := range keys {
		known = append(known, k.Name)
	}
	folded := strings.TrimPrefix(strings.ReplaceAll(strings.ToLower(name), "_", "-"), "agentidp-")
	switch folded {
	case "master-key":
		return "the key itself does not stand in a file of settings, which is copied and shown; give a file of its own with master-key-file, or AGENTIDP_MASTER_KEY"
	case "config":
		return "one file of settings cannot name another; leave the line out"
	}
	if value.Kind == yaml.MappingNode && len(value.Content) > 0 && slices.Contains(known, folded+"-"+value.Content[0].Value) {
		return "settings are not nested; write " + folded + "-" + value.Content[0].Value
	}
	if n, ok := nearest.Name(folded, known); ok {
		return "there is no such setting; did you mean " + n + "?"
	}
	return "there is no such setting; agentidp serve --help names all"
}

// maxShown bounds what an error repeats of what is no setting.
const maxShown = 64

// plain is a key as an error may show it, on one line.
func plain(name string) string {
	name = name[:min(len(name), maxShown)]
	if q := strconv.Quote(name); q != `"`+name+`"` || name == "" {
		return q
	}
	return name
}

func (f *File) names() []string {
	var names []string
	for name := range f.entries {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return f.entries[a].line - f.entries[b].line })
	return names
}
