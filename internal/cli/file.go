package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"

	"go.yaml.in/yaml/v3"

	"github.com/sentryagent/agentidp/internal/strictjson"
)

// Body is for commands that send an object: its members come from a file, from flags,
// or from both.
type Body struct {
	File string `short:"f" placeholder:"FILE" help:"Read the object from FILE, JSON or YAML with the API's names, - for standard input. Flags come on top."`
}

// object is a JSON object as it is sent. In a change, nil takes a member away (RFC
// 7396).
type object = map[string]any

const (
	maxFile  = 64 << 10 // bytes; the API takes no more
	maxDepth = 16
)

// read returns what the file says, or an empty object where there is none. Nothing
// of the file is repeated in an error but the names of members: whoever gives the
// wrong file gives perhaps a secret.
func (b *Body) read(std *IO) (object, error) {
	if b.File == "" {
		return object{}, nil
	}
	in, name, err := opened(std, "--file", b.File)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return readObject("--file", name, in)
}

// opened returns what a flag names, - for standard input, and what people call it.
func opened(std *IO, flag, file string) (in io.ReadCloser, name string, err error) {
	if file == "-" {
		return io.NopCloser(std.In), "standard input", nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, "", usageError{fmt.Errorf("%s: %w", flag, err)}
	}
	return f, file, nil
}

// readObject returns the object that a file says, which a flag named.
func readObject(flag, name string, in io.Reader) (object, error) {
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	if len(data) > maxFile {
		return nil, usageError{fmt.Errorf("%s: %s is larger than %d KiB", flag, name, maxFile>>10)}
	}
	o, err := parseObject(name, data)
	if err != nil {
		return nil, usageError{fmt.Errorf("%s: %s: %w", flag, name, err)}
	}
	return o, nil
}

// parseObject takes what begins with a brace for JSON, and all else for YAML; so too what is
// no JSON, because a mapping of YAML may begin like that.
func parseObject(name string, data []byte) (object, error) {
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return nil, errors.New("it is empty; give one object, such as {\"description\": \"…\"}")
	}
	if data[0] != '{' {
		return parseYAML(data)
	}
	if err := strictjson.Valid(data, maxDepth); err != nil {
		o, notYAML := parseYAML(data)
		return o, notJSON(name, fmt.Errorf("it begins like JSON and is none: %w", err), notYAML)
	}
	o := object{}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // what is sent is what was written
	if err := decoder.Decode(&o); err != nil {
		return nil, errors.New("it is no JSON object")
	}
	return o, nil
}

// notJSON returns what is wrong with a file that begins like JSON and is none: nothing where
// it is YAML, unless its name says that it should be JSON; else what is wrong with it as what
// its name says that it is, JSON where that says neither.
func notJSON(name string, asJSON, asYAML error) error {
	switch path.Ext(name) {
	case ".json":
		return asJSON
	case ".yaml", ".yml":
		return asYAML
	}
	if asYAML == nil {
		return nil
	}
	return asJSON
}

// anAnchor is the one error of the YAML parser that repeats what the file says.
var anAnchor = regexp.MustCompile(`unknown anchor '.*' referenced`)

// unreadable is an error of the YAML parser that repeats nothing of the file.
func unreadable(err error) error {
	return errors.New(anAnchor.ReplaceAllString(err.Error(), "an alias that names nothing"))
}

func parseYAML(data []byte) (object, error) {
	var doc yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	if err := decoder.Decode(&doc); err != nil {
		return nil, unreadable(err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("it has more than one YAML document; give one")
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("it is no object; give one line a member, such as branch: main")
	}
	value, err := fromYAML(doc.Content[0], maxDepth)
	if err != nil {
		return nil, err
	}
	o, _ := value.(object) // a mapping is nothing else
	return o, nil
}

// lineError is what is wrong in a line of a file.
type lineError struct {
	line int
	text string
}

func (e lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

// fromYAML returns what JSON would say. An instant stays the text that it is, because
// a branch may have the name of a day.
func fromYAML(n *yaml.Node, depth int) (any, error) {
	if depth == 0 {
		return nil, lineError{n.Line, "it is nested too deeply"}
	}
	switch n.Kind {
	case yaml.MappingNode:
		return fromMapping(n, depth)
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			var err error
			if list[i], err = fromYAML(item, depth-1); err != nil {
				return nil, err
			}
		}
		return list, nil
	case yaml.ScalarNode:
		return fromScalar(n)
	}
	return nil, lineError{n.Line, "aliases are not taken; write the value out"}
}

func fromMapping(n *yaml.Node, depth int) (object, error) {
	o := make(object, len(n.Content)/2)
	for i := 0; i < len(n.Content); i += 2 {
		name := n.Content[i]
		if name.Kind != yaml.ScalarNode || name.ShortTag() != "!!str" {
			return nil, lineError{name.Line, "the name of a member must be text; put it in quotes"}
		}
		if _, twice := o[name.Value]; twice {
			return nil, lineError{name.Line, name.Value + " is said twice"}
		}
		value, err := fromYAML(n.Content[i+1], depth-1)
		if err != nil {
			return nil, err
		}
		o[name.Value] = value
	}
	return o, nil
}

func fromScalar(n *yaml.Node) (any, error) {
	var v any
	switch n.ShortTag() {
	case "!!str", "!!timestamp":
		return n.Value, nil
	case "!!bool", "!!int", "!!float", "!!null":
		if err := n.Decode(&v); err == nil {
			if _, err := json.Marshal(v); err == nil { // .inf has no JSON
				return v, nil
			}
		}
	}
	return nil, lineError{n.Line, "it is neither text, number, true, false nor null"}
}
