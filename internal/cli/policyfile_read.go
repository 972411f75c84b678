package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/nearest"
)

// declared is a policy as a file declares it. Of what a policy that was read says
// besides, the id alone counts: it names the policy that is meant.
type declared struct {
	agentidp.TrustPolicySpec
	ID   string
	file string
	node *yaml.Node
}

// at is where a member stands, or what is nearest to it: file:line.
func (d *declared) at(field string) string {
	return fmt.Sprintf("%s:%d", d.file, lineOf(d.node, field))
}

// problem says what is wrong with a member of a policy, and where.
func (d *declared) problem(field, reason string) error {
	return fmt.Errorf("%s: %s: %s", d.at(field), field, reason)
}

// lineOf finds a field by the name that errors call it: claims.ref, events[1].
func lineOf(n *yaml.Node, field string) int {
	line := n.Line
	switch n.Kind {
	case yaml.MappingNode:
		longest := -1
		for i := 0; i < len(n.Content); i += 2 {
			name := n.Content[i]
			rest, found := strings.CutPrefix(field, name.Value)
			if !found || rest != "" && rest[0] != '.' && rest[0] != '[' || len(name.Value) <= longest {
				continue
			}
			longest, line = len(name.Value), name.Line
			if rest != "" {
				line = lineOf(n.Content[i+1], strings.TrimPrefix(rest, "."))
			}
		}
	case yaml.SequenceNode:
		var i int
		if _, err := fmt.Sscanf(field, "[%d]", &i); err == nil && i >= 0 && i < len(n.Content) {
			line = n.Content[i].Line
		}
	}
	return line
}

// readPolicies returns what files declare, in the order of the files, and all that is
// wrong with what could not be read.
func readPolicies(std *IO, names []string) ([]*declared, error) {
	files, err := findPolicyFiles(std, names)
	errs := []error{err}
	var all []*declared
	for _, f := range files {
		policies, bad := f.policies()
		all = append(all, policies...)
		for _, err := range bad {
			errs = append(errs, usageError{err})
		}
	}
	return all, errors.Join(errs...)
}

// policies returns what one file declares: in each of its documents, one policy, or
// those of the list that is called policies.
func (f *policyFile) policies() (all []*declared, bad []error) {
	documents, err := documents(f.name, f.data)
	if err != nil {
		bad = append(bad, f.wrong(err))
	}
	for _, document := range documents {
		nodes, err := policyNodes(document)
		if err != nil {
			bad = append(bad, f.wrong(err))
		}
		for _, node := range nodes {
			d, errs := f.policy(node)
			if bad = append(bad, errs...); len(errs) == 0 {
				all = append(all, d)
			}
		}
	}
	return all, bad
}

// wrong says in which file something is wrong, and in which line if that is known.
func (f *policyFile) wrong(err error) error {
	if e, ok := errors.AsType[lineError](err); ok {
		return fmt.Errorf("%s:%d: %s", f.name, e.line, e.text)
	}
	return fmt.Errorf("%s: %w", f.name, err)
}

func (f *policyFile) policy(node *yaml.Node) (*declared, []error) {
	value, err := fromYAML(node, maxDepth)
	if err != nil {
		return nil, []error{f.wrong(err)}
	}
	o, ok := value.(object)
	if !ok {
		return nil, []error{f.wrong(lineError{node.Line, "it is no policy; give one line a member, such as branch: main"})}
	}
	d := &declared{file: f.name, node: node}
	if schema, ok := o["$schema"].(string); ok && schema != "" {
		delete(o, "$schema") // for editors
	}
	policy, errs := typed[agentidp.TrustPolicy](o)
	for i, err := range errs {
		if e, ok := errors.AsType[memberError](err); ok {
			errs[i] = d.problem(e.name, e.reason.Error())
		}
	}
	if len(errs) > 0 {
		return nil, errs
	}
	d.TrustPolicySpec, d.ID = policy.TrustPolicySpec, policy.ID
	if d.ID != "" && !agentidp.IsID(d.ID) {
		return nil, []error{d.problem("id", "it is not an id; give the UUID in lower case, or leave it out")}
	}
	return d, nil
}

// listOfPolicies is the member of a document that is no policy, but has a list of them.
const listOfPolicies = "policies"

// policyNodes are the policies of one document.
func policyNodes(document *yaml.Node) ([]*yaml.Node, error) {
	if document.Kind != yaml.MappingNode {
		return nil, lineError{document.Line, "it is no policy; a document is one policy, or has policies: and below it a list"}
	}
	list := -1
	for i := 0; i < len(document.Content); i += 2 {
		name := document.Content[i]
		if name.Value == listOfPolicies {
			list = i
		} else if _, meant := nearest.Name(name.Value, []string{listOfPolicies}); meant {
			return nil, lineError{name.Line, name.Value + ": there is no such member; did you mean " + listOfPolicies + "?"}
		}
	}
	if list < 0 {
		return []*yaml.Node{document}, nil
	}
	for i := 0; i < len(document.Content); i += 2 {
		if name := document.Content[i]; i != list && name.Value != "$schema" {
			return nil, lineError{name.Line, name.Value + ": beside policies there is nothing else; put it into a policy"}
		}
	}
	policies := document.Content[list+1]
	if policies.Kind != yaml.SequenceNode {
		return nil, lineError{policies.Line, "policies: it must be a list"}
	}
	return policies.Content, nil
}

// documents returns those of a file. What begins with a brace is JSON, which is one, or a
// mapping of YAML.
func documents(name string, data []byte) ([]*yaml.Node, error) {
	if trimmed := bytes.TrimSpace(data); len(trimmed) == 0 || trimmed[0] != '{' {
		return yamlDocuments(data)
	}
	node, err := jsonNode(data)
	if err == nil {
		return []*yaml.Node{node}, nil
	}
	all, notYAML := yamlDocuments(data)
	if err := notJSON(name, err, notYAML); err != nil {
		return nil, err
	}
	return all, nil
}

func yamlDocuments(data []byte) ([]*yaml.Node, error) {
	var all []*yaml.Node
	for decoder := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, unreadable(err)
		}
		if content := document.Content[0]; content.Kind != yaml.ScalarNode || content.ShortTag() != "!!null" {
			all = append(all, content) // else it is empty, but for comments
		}
	}
}
