package store_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp/internal/store"
)

// A migration adds, so that servers of the version before go on while it runs and
// afterwards, and may be started again:
//
//   - a table; its indexes with it;
//   - a column, with a constant default or without a NOT NULL: no row is written for it,
//     and an older program's INSERT, which names its columns, leaves it out;
//   - an index that is not UNIQUE, with IF NOT EXISTS: building it keeps writers of the
//     table waiting, so whoever has millions of rows makes it with CONCURRENTLY before
//     the upgrade, and the release notes say so. The migration does not, because it is
//     one transaction, and one that is killed leaves nothing behind;
//   - rows, and values of columns that are new, with a comment that begins with
//     "Meanwhile" and says how what an older program writes afterwards is read.
//
// Whatever takes something away, or gives a new meaning to what older programs read or
// write, raises needs_schema of the organizations, with their revision, to the version
// that no longer needs it, or knows of it (see Understood): "expand, then contract". Each
// may follow one version after what it rests on, and the release notes say from which
// version one upgrades without an interruption.
var allowed = []struct {
	what      string
	statement *regexp.Regexp
	meanwhile bool
}{
	{"a table", regexp.MustCompile(`^CREATE TABLE \w+ \(`), false},
	{"an index", regexp.MustCompile(`^CREATE INDEX IF NOT EXISTS \w+ ON \w+ \(`), false},
	{"a column with a default", regexp.MustCompile(`^ALTER TABLE \w+ ADD COLUMN \w+ (TEXT|BIGINT|BOOLEAN) NOT NULL DEFAULT ('[^']*'|-?\d+|TRUE|FALSE)$`), false},
	{"a column that may be NULL", regexp.MustCompile(`^ALTER TABLE \w+ ADD COLUMN \w+ (TEXT|BIGINT|BOOLEAN)$`), false},
	{"rows", regexp.MustCompile(`^INSERT INTO \w+ \((\w+, )*\w+\) `), true},
	{"values", regexp.MustCompile(`^UPDATE \w+ SET `), true},
}

var (
	comment    = regexp.MustCompile(`(?m)--.*$`)
	indexOfNew = regexp.MustCompile(`^CREATE (UNIQUE )?INDEX (IF NOT EXISTS )?\w+ ON (\w+) \(`)
	contracts  = regexp.MustCompile(`UPDATE organizations SET needs_schema = (\d+), revision = revision \+ 1;`)
)

// beyondTheRules returns what in a migration is not allowed.
func beyondTheRules(version int64, text string) (bad []string) {
	if m := contracts.FindStringSubmatch(text); m != nil {
		if needs, err := strconv.ParseInt(m[1], 10, 64); err != nil || needs > version {
			return []string{"it needs a version that is not there: " + m[0]}
		}
		return nil
	}
	meanwhile := strings.Contains(text, "-- Meanwhile")
	made := map[string]bool{}
	for statement := range strings.SplitSeq(comment.ReplaceAllString(text, ""), ";") {
		statement = strings.Join(strings.Fields(statement), " ")
		ok := statement == ""
		for _, rule := range allowed {
			ok = ok || rule.statement.MatchString(statement) && (meanwhile || !rule.meanwhile)
		}
		if table, is := strings.CutPrefix(statement, "CREATE TABLE "); is {
			made[strings.Fields(table)[0]] = true
		}
		if index := indexOfNew.FindStringSubmatch(statement); index != nil && made[index[3]] {
			ok = true
		}
		if !ok {
			bad = append(bad, statement)
		}
	}
	return bad
}

// what a migration that does anything else would break is a server of the version
// before, which still serves.
func TestMigrationsOnlyAdd(t *testing.T) {
	files, err := os.ReadDir("migrations")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		number, _, _ := strings.Cut(file.Name(), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if version < 23 { // from before there was a rule: they are crossed with the servers stopped
			continue
		}
		text, err := os.ReadFile("migrations/" + file.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, statement := range beyondTheRules(version, string(text)) {
			t.Errorf("%s: servers of the version before could not go on: %s", file.Name(), statement)
		}
	}
}

func TestWhatMigrationsMayDo(t *testing.T) {
	for _, test := range []struct {
		name, text string
		allowed    bool
	}{
		{"a table with its indexes", "CREATE TABLE a (b TEXT NOT NULL); -- new\nCREATE UNIQUE INDEX a_b ON a (b);", true},
		{"a column with a default", "ALTER TABLE agents ADD COLUMN a TEXT NOT NULL DEFAULT ''; -- JSON\nALTER TABLE agents ADD COLUMN b BIGINT NOT NULL DEFAULT 0;", true},
		{"a column without one", "ALTER TABLE agents ADD COLUMN a TEXT NOT NULL;", false},
		{"a column whose default is worked out for each row", "ALTER TABLE agents ADD COLUMN a TEXT NOT NULL DEFAULT gen_random_uuid();", false},
		{"a column with a constraint", "ALTER TABLE agents ADD COLUMN a TEXT NOT NULL DEFAULT '' CHECK (a <> 'b');", false},
		{"an index that may be there already", "CREATE INDEX IF NOT EXISTS agents_a ON agents (a);", true},
		{"an index that may not", "CREATE INDEX agents_a ON agents (a);", false},
		{"a rule that older programs may break", "CREATE UNIQUE INDEX IF NOT EXISTS agents_a ON agents (a);", false},
		{"an index less", "DROP INDEX agents_name;", false},
		{"a table less", "DROP TABLE fences;", false},
		{"a column less", "ALTER TABLE agents DROP COLUMN owner;", false},
		{"another name", "ALTER TABLE agents RENAME COLUMN owner TO owned_by;", false},
		{"values, without a word on those to come", "UPDATE agents SET a = name;", false},
		{"values", "-- Meanwhile an older program leaves it empty, which is read as the name.\nUPDATE agents SET a = name;", true},
		{"what is behind a comment", "-- CREATE TABLE\nDROP TABLE fences;", false},
		{"what is taken away, and says from which version on that is well", "UPDATE organizations SET needs_schema = 24, revision = revision + 1;\nALTER TABLE agents DROP COLUMN owner;", true},
		{"what needs a version that is not there", "UPDATE organizations SET needs_schema = 26, revision = revision + 1;\nDROP TABLE fences;", false},
		{"what forgets the revision", "UPDATE organizations SET needs_schema = 24;\nDROP TABLE fences;", false},
	} {
		if bad := beyondTheRules(25, test.text); (len(bad) == 0) != test.allowed {
			t.Errorf("%s: %q", test.name, bad)
		}
	}
	if version := store.LatestSchema(); version < 23 {
		t.Errorf("the last migration is %d: the rules hold none", version)
	}
}
