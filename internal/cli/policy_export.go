package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
)

type policyExportCmd struct {
	Managing `embed:""`

	OutputDir  string `placeholder:"DIR" help:"Write a file for each repository into this directory (default: all to standard output)."`
	Provider   string `placeholder:"NAME" help:"Policies that name this provider alone."`
	Repository string `placeholder:"OWNER/NAME" help:"Policies that name this repository alone, in any case."`
}

// Help is shown by policy export --help.
func (*policyExportCmd) Help() string {
	return `Writes what administrators say in the policies, with all defaults, as YAML that policy
apply finds unchanged. Files are called after provider and repository, and replaced if they
are there. Agents are named in comments where the token has agents:read. AGENTIDP_TOKEN
holds the access token, with policies:read.

Examples:
  agentidp policy export --output-dir policies
  agentidp policy export --repository org/your-repo`
}

// Run writes.
func (c *policyExportCmd) Run(ctx context.Context, std *IO) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	e := &exported{client: cl, files: map[string][]*agentidp.TrustPolicy{}, agents: map[string]string{}}
	filter := agentidp.PolicyFilter{Provider: c.Provider, Repository: c.Repository}
	for p, err := range cl.AllTrustPolicies(ctx, filter) {
		if err != nil {
			return err
		}
		name := exportName(p)
		e.files[name] = append(e.files[name], p)
	}
	if c.OutputDir != "" {
		return e.write(ctx, std, c.OutputDir)
	}
	var all []*agentidp.TrustPolicy
	for _, name := range slices.Sorted(maps.Keys(e.files)) {
		all = append(all, sortPolicies(e.files[name])...)
	}
	doc, err := e.document(ctx, all)
	if err != nil {
		return err
	}
	_, err = std.Out.Write(doc)
	return err
}

// exported are the policies of a server, by the file in which they belong.
type exported struct {
	client *client.Client
	files  map[string][]*agentidp.TrustPolicy
	agents map[string]string // names, by id; empty where it may not be known
}

// exportName is the file for a policy, with slashes: that of its repository, or of its
// provider where there is none. Whatever they are called, it lies in the directory, and
// policy apply does not pass over it.
func exportName(p *agentidp.TrustPolicy) string {
	segments := []string{p.Provider}
	if p.Repository != "" {
		segments = append(segments, strings.Split(agentidp.FoldRepository(p.Repository), "/")...)
	}
	for i, s := range segments {
		s = strings.Map(func(r rune) rune {
			if r == '.' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
				return r
			}
			return '_'
		}, s)
		if s == "" || s[0] == '.' {
			s = "_" + s
		}
		segments[i] = s
	}
	return path.Join(segments...) + ".yaml"
}

// sortPolicies puts policies in an order that depends on nothing but what they say.
func sortPolicies(policies []*agentidp.TrustPolicy) []*agentidp.TrustPolicy {
	slices.SortFunc(policies, func(a, b *agentidp.TrustPolicy) int {
		return slices.Compare(spelled(a.TrustPolicySpec), spelled(b.TrustPolicySpec))
	})
	return policies
}

// write writes a file for each repository, each at once or not at all.
func (e *exported) write(ctx context.Context, std *IO, dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	ours := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(e.files)) {
		doc, err := e.document(ctx, sortPolicies(e.files[name]))
		if err != nil {
			return err
		}
		if err := replaceFile(root, name, doc); err != nil {
			return err
		}
		shown := filepath.Join(dir, filepath.FromSlash(name))
		ours[shown] = true
		say(std.Out, "%s  %s", shown, manyPolicies(len(e.files[name])))
	}
	there, err := findPolicyFiles(std, []string{dir})
	for _, f := range there {
		if !ours[f.name] {
			say(std.Err, "agentidp: %s was there before and is no part of the export; policy apply takes it too", f.name)
		}
	}
	return err
}

// replaceFile puts a file in the place of what has its name, below a directory.
func replaceFile(root *os.Root, name string, data []byte) error {
	dir, file := path.Split(name)
	if err := root.MkdirAll(path.Join(".", dir), 0o750); err != nil {
		return err
	}
	next := path.Join(dir, "."+file+".next")
	if err := root.WriteFile(next, data, 0o644); err != nil {
		return err
	}
	return root.Rename(next, name)
}

// document is policies as YAML, one a document.
func (e *exported) document(ctx context.Context, policies []*agentidp.TrustPolicy) ([]byte, error) {
	var out bytes.Buffer
	fmt.Fprintf(&out, "# yaml-language-server: $schema=%s/api/v1/trust-policies.schema.json\n", strings.TrimSuffix(e.client.BaseURL, "/"))
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	for _, p := range policies {
		node, err := e.node(ctx, p)
		if err != nil {
			return nil, err
		}
		if err := encoder.Encode(node); err != nil {
			return nil, err
		}
	}
	if len(policies) == 0 { // an encoder that has written nothing cannot be closed
		return out.Bytes(), nil
	}
	return out.Bytes(), encoder.Close()
}

// node is what an administrator says in a policy, in the order of its members. Its
// comments say what the ids do not.
func (e *exported) node(ctx context.Context, p *agentidp.TrustPolicy) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, field := range specMembers {
		v := reflect.ValueOf(p.TrustPolicySpec).FieldByIndex(field.Index)
		if v.IsZero() {
			continue
		}
		doc, err := json.Marshal(v.Interface())
		if err != nil {
			return nil, err
		}
		value, err := jsonNode(doc)
		if err != nil {
			return nil, err
		}
		name := memberName(&field)
		if name == "agentId" {
			agent, err := e.agent(ctx, p.AgentID)
			if err != nil {
				return nil, err
			}
			value.LineComment = agent
		}
		quote(value)
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name}, value)
	}
	if byRegistration(p) {
		n.HeadComment = "# Created with the registration of its agent, by " + printable(p.CreatedBy) + "."
	}
	return n, nil
}

// bare is text that every reader of YAML takes for itself, also without quotes; but for
// aWord, which some take for true or false.
var (
	bare  = regexp.MustCompile(`^[A-Za-z](?:[A-Za-z0-9._/@+-]|:[A-Za-z0-9/]|[ ,;]+[A-Za-z0-9])*$`)
	aWord = regexp.MustCompile(`(?i)^(?:y|n|yes|no|on|off|true|false|null)$`)
)

// quote puts quotes around all text that could be taken for something else.
func quote(n *yaml.Node) {
	if n.Tag == "!!str" && (!bare.MatchString(n.Value) || aWord.MatchString(n.Value)) {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, inner := range n.Content {
		quote(inner)
	}
}

// agent is a comment that names an agent, or nothing where the token may not know it.
func (e *exported) agent(ctx context.Context, id string) (string, error) {
	if comment, known := e.agents[id]; known {
		return comment, nil
	}
	agent, err := e.client.GetAgent(ctx, id)
	if refused, ok := errors.AsType[*client.Error](err); ok && (refused.Status == http.StatusForbidden || refused.Status == http.StatusNotFound) {
		e.agents[id] = ""
		return "", nil
	}
	if err != nil {
		return "", err
	}
	e.agents[id] = "# " + printable(agent.Name)
	return e.agents[id], nil
}

// manyPolicies is a number of policies: 1 policy, 8 policies.
func manyPolicies(n int) string {
	if n == 1 {
		return "1 policy"
	}
	return fmt.Sprintf("%d policies", n)
}
