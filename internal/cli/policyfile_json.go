package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sentryagent/agentidp/internal/strictjson"
)

// jsonNode returns a JSON document as YAML, which knows its lines.
func jsonNode(data []byte) (*yaml.Node, error) {
	if err := strictjson.Valid(data, maxDepth); err != nil {
		if e, ok := errors.AsType[*strictjson.Error](err); ok {
			return nil, lineError{1 + bytes.Count(data[:e.Offset], []byte("\n")), "it begins like JSON and is none: " + e.Problem}
		}
		return nil, fmt.Errorf("it begins like JSON and is none: %w", err)
	}
	w := jsonWalk{Decoder: json.NewDecoder(bytes.NewReader(data)), data: data, line: 1}
	w.UseNumber()
	return w.value()
}

// jsonWalk goes through a JSON document that is valid, and counts its lines.
type jsonWalk struct {
	*json.Decoder
	data []byte // what follows the last token
	read int64
	line int
}

func (w *jsonWalk) value() (*yaml.Node, error) {
	token, err := w.Token()
	if err != nil {
		return nil, err
	}
	step := w.InputOffset() - w.read
	w.line += bytes.Count(w.data[:step], []byte("\n"))
	w.data, w.read = w.data[step:], w.InputOffset()
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: w.line, Value: fmt.Sprint(token)}
	switch token := token.(type) {
	case json.Delim:
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		if token == '{' {
			n.Kind, n.Tag = yaml.MappingNode, "!!map"
		}
		for w.More() {
			item, err := w.value() // of an object, its names and values in turn
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, item)
		}
		_, err = w.Token() // the end
	case string:
		n.Tag = "!!str"
	case bool:
		n.Tag = "!!bool"
	case json.Number:
		n.Tag = "!!int"
		if strings.ContainsAny(token.String(), ".eE") {
			n.Tag = "!!float"
		}
	default:
		n.Tag, n.Value = "!!null", "null"
	}
	return n, err
}
