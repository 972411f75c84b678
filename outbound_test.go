package agentidp_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"testing"
)

// mayConnect says which packages and files begin connections, and to whom. What a request
// can make the server ask is in internal/verify, under guard: no other part of it reaches
// anybody.
var mayConnect = map[string]string{
	"internal/verify":                "the issuers of registered providers, under guard",
	"internal/app/doctor_network.go": "the operator's own installation and its issuers, for agentidp doctor",
	"internal/store":                 "the PostgreSQL of the database URL, whose driver dials through it",
	"internal/cli":                   "the server that the user names",
	"client":                         "the server that the user names",
	"bench":                          "the server that it measures",
}

// connects are the names by which the standard library begins connections.
var connects = map[string][]string{
	"net":        {"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialIP", "DialUnix", "Dialer", "LookupHost", "LookupIP", "LookupAddr", "LookupCNAME", "LookupTXT", "DefaultResolver"},
	"net/http":   {"Get", "Head", "Post", "PostForm", "Client", "Transport", "DefaultClient", "DefaultTransport"},
	"crypto/tls": {"Dial", "DialWithDialer", "Dialer"},
	"net/smtp":   {"Dial", "SendMail"},
	"net/rpc":    {"Dial", "DialHTTP"},
}

func TestWhoBeginsConnections(t *testing.T) {
	seen := map[string]bool{}
	for path := range sources(t) {
		path = filepath.ToSlash(path)
		names := connectingNames(t, path)
		if len(names) == 0 {
			continue
		}
		who := path
		if mayConnect[who] == "" {
			who = filepath.ToSlash(filepath.Dir(path))
		}
		if seen[who] = true; mayConnect[who] == "" {
			t.Errorf("%s uses %v; who begins connections, and to whom, is in mayConnect", path, names)
		}
	}
	for who := range mayConnect {
		if !seen[who] {
			t.Errorf("%s may begin connections, and does not", who)
		}
	}
}

// connectingNames returns what a file uses of connects, whatever it calls the packages.
func connectingNames(t *testing.T, path string) (used []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	packages := map[string]string{}
	for _, imp := range file.Imports {
		full := imp.Path.Value[1 : len(imp.Path.Value)-1]
		name := filepath.Base(full)
		if imp.Name != nil {
			name = imp.Name.Name
		}
		packages[name] = full
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && slices.Contains(connects[packages[x.Name]], s.Sel.Name) {
				used = append(used, x.Name+"."+s.Sel.Name)
			}
		}
		return true
	})
	return used
}
