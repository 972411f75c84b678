package agentidp_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/sentryagent/agentidp"

// mayImport is who may import whom, beside the root package, which everything
// may. Arrows run downward only. A package that is not in the table does not
// exist: add it here together with the reason in docs/decisions.
var mayImport = map[string][]string{
	".":                   {},
	"cmd/agentidp":        {"internal/cli"},
	"client":              {},
	"internal/cli":        {"internal/app", "internal/config", "internal/nearest", "internal/logpipe", "client", "internal/emulator", "internal/jose", "internal/policy", "internal/providers", "internal/strictjson"},
	"internal/app":        {"internal/config", "internal/api", "internal/oauth", "internal/problem", "internal/limit", "internal/exchange", "internal/grant", "internal/credential", "internal/registry", "internal/audit", "internal/verify", "internal/token", "internal/keys", "internal/providers", "internal/store", "internal/metrics", "internal/failpoint"},
	"internal/config":     {"internal/providers", "internal/nearest"},
	"internal/api":        {"internal/registry", "internal/audit", "internal/exchange", "internal/token", "internal/dpop", "internal/problem", "internal/strictjson"},
	"internal/oauth":      {"internal/exchange", "internal/grant", "internal/credential", "internal/dpop", "internal/registry", "internal/token", "internal/keys", "internal/problem"},
	"internal/problem":    {},
	"internal/exchange":   {"internal/verify", "internal/policy", "internal/token", "internal/limit", "internal/store", "internal/failpoint"},
	"internal/grant":      {"internal/credential", "internal/policy", "internal/token", "internal/limit", "internal/store"},
	"internal/registry":   {"internal/credential", "internal/policy", "internal/verify", "internal/keys", "internal/jose", "internal/store"},
	"internal/credential": {"internal/jose", "internal/strictjson", "internal/limit", "internal/store"},
	"internal/audit":      {"internal/store"},
	"internal/limit":      {},
	"internal/token":      {"internal/keys", "internal/jose", "internal/limit", "internal/store"},
	"internal/keys":       {"internal/jose", "internal/store"},
	"internal/verify":     {"internal/jose", "internal/strictjson", "internal/limit"},
	"internal/providers":  {},
	"internal/policy":     {"internal/condition", "internal/nearest"},
	"internal/condition":  {"internal/limit", "internal/nearest"},
	"internal/store":      {"internal/failpoint", "internal/limit"},
	"internal/emulator":   {"internal/jose"},
	"internal/dpop":       {"internal/jose", "internal/strictjson"},
	"internal/jose":       {"internal/strictjson"},
	"internal/strictjson": {},
	"internal/failpoint":  {},
	"internal/pace":       {"internal/failpoint"},
	"internal/pgtest":     {"internal/printed"},
	"internal/certtest":   {},
	"internal/dnstest":    {},
	"internal/dpoptest":   {},
	"internal/logpipe":    {},
	"internal/metrics":    {},
	"internal/nearest":    {},
	"internal/printed":    {},
	"test/corpus":         {},
	"test/secretscan":     {"internal/printed"},
	"bench":               {"internal/app", "internal/config", "internal/emulator", "internal/jose", "internal/pgtest", "internal/policy", "internal/providers", "internal/store", "internal/verify", "client"},
}

// onlyIn says where a heavy or dangerous import may stand.
var onlyIn = map[string][]string{
	"database/sql":                     {"internal/store"},
	"github.com/danielgtaylor/huma/v2": {"internal/api"},
	"github.com/jackc/pgx/v5":          {"internal/store", "internal/pgtest", "bench"},
	"modernc.org/sqlite":               {"internal/store", "bench"},
	"github.com/pressly/goose/v3":      {"internal/store"},
	"cel.dev/cel-go":                   {"internal/condition"},
	"go.yaml.in/yaml/v3":               {"internal/config", "internal/providers", "internal/cli"},
	"github.com/alecthomas/kong":       {"internal/cli"},
	"github.com/prometheus":            {"internal/metrics"},
	"net/http/pprof":                   {"internal/app"},
	"golang.org/x/time/rate":           {"internal/limit"},
	"github.com/go-jose/go-jose/v4":    {}, // tests only: an independent implementation to be held against

	"github.com/anishathalye/porcupine": {}, // tests only
}

var vagueNames = []string{"util", "utils", "common", "helpers", "types", "models", "pkg", "service", "manager"}

func TestEveryImportIsInTheTable(t *testing.T) {
	for path, imports := range sources(t) {
		dir := filepath.ToSlash(filepath.Dir(path))
		allowed, known := mayImport[dir]
		if !known {
			t.Errorf("%s: package %s is not in the import table", path, dir)
			continue
		}
		for _, imp := range imports {
			if rest, ours := strings.CutPrefix(imp, module); ours {
				rest = strings.TrimPrefix(rest, "/")
				if rest != "" && !slices.Contains(allowed, rest) {
					t.Errorf("%s: %s may not import %s", path, dir, rest)
				}
				continue
			}
			if dir == "." && strings.Contains(imp, ".") {
				t.Errorf("%s: the root package imports only the standard library, not %s", path, imp)
			}
			for prefix, dirs := range onlyIn {
				if (imp == prefix || strings.HasPrefix(imp, prefix+"/")) && !slices.Contains(dirs, dir) {
					t.Errorf("%s: %s may be imported only in %v", path, imp, dirs)
				}
			}
		}
	}
}

// What nobody uses any more must be taken out of the table, or it stops saying
// anything.
func TestEveryPermissionIsUsed(t *testing.T) {
	used := map[[2]string]bool{}
	for path, imports := range sources(t) {
		for _, imp := range imports {
			used[[2]string{filepath.ToSlash(filepath.Dir(path)), strings.TrimPrefix(imp, module+"/")}] = true
		}
	}
	for dir, allowed := range mayImport {
		for _, imp := range allowed {
			if !used[[2]string{dir, imp}] {
				t.Errorf("%s may import %s, and does not", dir, imp)
			}
		}
	}
}

func TestEveryPackageOfTheTableExists(t *testing.T) {
	seen := map[string]bool{}
	for path := range sources(t) {
		seen[filepath.ToSlash(filepath.Dir(path))] = true
	}
	for dir := range mayImport {
		if !seen[dir] {
			t.Errorf("the import table has %s, and there is no such package", dir)
		}
	}
}

func TestNoPackageHasAVagueName(t *testing.T) {
	for path := range sources(t) {
		if name := filepath.Base(filepath.Dir(path)); slices.Contains(vagueNames, name) {
			t.Errorf("%s: a package called %q says nothing of what it owns", path, name)
		}
	}
}

// sources returns the imports of every Go file of this module that is no test.
func sources(t *testing.T) map[string][]string {
	t.Helper()
	files := map[string][]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && path != "." || d.Name() == "node_modules" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		files[path] = []string{}
		for _, imp := range f.Imports {
			name, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				return err
			}
			files[path] = append(files[path], name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
