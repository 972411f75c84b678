package condition_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp/internal/condition"
)

func TestExpressionsThatAreRefused(t *testing.T) {
	t.Parallel()
	const github, oidc = "github", "oidc"
	for _, test := range []struct{ sentence, kind, expression, want string }{
		{"nothing", github, ``, "line 1, column 1: is empty."},
		{"white space", github, " \n\t", "line 1, column 1: is empty."},
		{"half of one", github, `claims.ref ==`, "line 1, column 14: the expression ends too early"},
		{"an assignment", github, `claims.ref = "main"`, `line 1, column 12, at ‹= "main"›: = is no operator. Compare with ==.`},
		{"and in words", github, `claims.ref == "a" and claims.sha == "b"`, `line 1, column 19, at ‹and claims.sha == "b"›: the expression should have ended before and. Join conditions with && or ||.`},
		{"an open quote", github, `claims.ref == "main`, `line 1, column 15, at ‹"main›: cannot be read. Close each quote`},
		{"an unknown escape", github, `claims.ref == "\q"`, "write a backslash within quotes as \\\\."},
		{"the line and the column are told", github, "claims.ref == \"größe\"\n  && claims.refs == \"x\"", `line 2, column 6, at ‹claims.refs == "x"›: refs is no claim of kind github. Is ref meant?`},
		{"columns are characters", github, `"größe" == claims.refs`, `line 1, column 12, at ‹claims.refs›`},

		{"a misspelled claim", github, `claims.environmen == "x"`, `line 1, column 1, at ‹claims.environmen == "x"›: environmen is no claim of kind github. Is environment meant? One that is not known here yet is written claims["environmen"].`},
		{"one like no other", github, `claims.whatever == "x"`, `whatever is no claim of kind github. One that is not known`},
		{"a misspelled claim in has", github, `has(claims.environmen)`, `line 1, column 5, at ‹claims.environmen)›: environmen is no claim`},
		{"the name of another provider's claim", github, `claims.namespace_path == "x"`, "is no claim of kind github."},
		{"our name in place of the provider's", github, `claims.event == "push"`, "event is no claim of kind github."},

		{"all claims at once", github, `claims == {"ref": "x"}`, `line 1, column 1, at ‹claims == {"ref": "x"}›: claims cannot be used as a whole, nor looked into by a name that is computed. Write claims.name, claims["name"] or has(claims.name).`},
		{"a name that is computed", github, `claims["re" + "f"] == "x"`, "by a name that is computed"},
		{"a name that another claim says", github, `claims[claims.ref] == "x"`, "by a name that is computed"},
		{"in claims", github, `"ref" in claims`, `line 1, column 10, at ‹claims›: claims cannot be used as a whole`},
		{"going through them", github, `claims.exists(c, c == "ref")`, "claims cannot be used as a whole"},
		{"how many there are", github, `size(claims) > 3`, "claims cannot be used as a whole"},
		{"as a member of a list", oidc, `[claims].exists(c, c.sub == "x")`, "claims cannot be used as a whole"},
		{"as a member of an object", oidc, `{"c": claims}.c.sub == "x"`, "claims cannot be used as a whole"},
		{"as a choice", oidc, `(true ? claims : claims).sub == "x"`, "claims cannot be used as a whole"},
		{"by a dot in front", oidc, `.claims == {}`, "claims cannot be used as a whole"},
		{"a variable of the same name", oidc, `[{"sub": "x"}].exists(claims, claims.sub == "x")`, "claims cannot be the name of a variable"},
		{"a variable of the same name with a claim beside it", github, `claims.sha == "x" || ["x"].all(claims, claims == "x")`, "claims cannot be the name of a variable"},
		{"by a number", github, `claims[0] == "x"`, "by a name that is computed"},

		{"the issuer", github, `claims.iss == "x"`, `at ‹claims.iss == "x"›: iss is the same in all tokens of a provider.`},
		{"the audience", oidc, `"x" in claims.aud`, "aud is for this server in every token"},
		{"when it ends", oidc, `claims.exp > 5`, "exp is checked in every token"},
		{"when it was issued", oidc, `claims["iat"] > 5`, "iat is checked in every token"},
		{"when it begins", oidc, `has(claims.nbf)`, "nbf is checked in every token"},
		{"its id", github, `claims.jti.startsWith("a")`, "jti is another in every token"},

		{"regular expressions", github, `claims.ref.matches("^refs/heads/.*$")`, `line 1, column 12, at ‹matches("^refs/heads/.*$")›: regular expressions are not possible: it is too easy to forget an anchor. Use glob`},
		{"called otherwise", oidc, `matches(claims.sub, "x")`, `line 1, column 1, at ‹matches(claims.sub, "x")›: regular`},
		{"two stars", github, `claims.ref.glob("refs/**")`, `line 1, column 17, at ‹"refs/**")›: ** is not possible`},
		{"a pattern that the token chooses", github, `claims.ref.glob(claims.head_ref)`, "the pattern of glob must stand there as text in quotes."},
		{"a pattern that is computed", github, `glob(claims.ref, "refs/" + "*")`, "the pattern of glob must stand there"},
		{"a pattern in a variable", github, `["a*"].exists(p, claims.ref.glob(p))`, "the pattern of glob must stand there"},
		{"a clock", oidc, `timestamp(claims.since) < timestamp("2030-01-01T00:00:00Z")`, "timestamp is no function here. There are glob, startsWith"},
		{"a zone", oidc, `claims.t.getHours("Europe/Berlin") == 3`, "getHours is no function here."},
		{"a type", oidc, `type(claims.sub) == string`, "type is no function here."},
		{"nothing in particular", oidc, `dyn(claims.sub) == "x"`, "dyn is no function here."},
		{"bytes", oidc, `bytes(claims.sub) == b"x"`, "bytes is no function here."},
		{"an unknown function", github, `claims.ref.lower() == "x"`, `line 1, column 12, at ‹lower() == "x"›: lower is no function here.`},
		{"a message", github, `claims.ref == "x" && google.protobuf.Any{} != null`, "messages cannot be made here."},
		{"calculations", github, `int(claims.run_attempt) * 2 < 4`, "* is no operator here: nothing is calculated."},
		{"a hyphen", oidc, `claims.team-name == "x"`, `- is no operator here: nothing is calculated. A claim with such a character in its name is written claims["the-name"].`},
		{"an optional claim", github, `claims.?ref == "x"`, "unsupported syntax '.?'"},
		{"has of a name in brackets", oidc, `has(claims["kubernetes.io"])`, "has() takes a claim or a field of it by name"},
		{"has of all", oidc, `has(claims)`, "has() takes a claim"},

		{"a name without claims", github, `ref == "main"`, `line 1, column 1, at ‹ref == "main"›: is not known. Write claims.ref.`},
		{"text without quotes", github, `claims.ref == main`, `line 1, column 15, at ‹main›: is not known: claims is all that there is to read, for example claims.ref. Write text in quotes: "main".`},
		{"a number for text", github, `claims.run_id == 5`, `line 1, column 15, at ‹== 5›: == is not possible with (string, int). All claims of kind github are text: write numbers, true and false in quotes.`},
		{"true for text", github, `claims.ref_protected == true`, "== is not possible with (string, bool)."},
		{"text for true", github, `claims.ref_protected && claims.ref == "x"`, "must be true or false here, and this is string. All claims of kind github are text"},
		{"a member of text", github, `claims.ref.name == "x"`, "has no fields: it is no object. All claims of kind github are text"},
		{"a number for a function of text", oidc, `claims.sub.startsWith(5)`, `int("7") and string(7) make one of the other.`},
		{"text", github, `claims.ref`, "must be true or false, and this is string."},
		{"anything", oidc, `claims.email_verified`, `must be true or false, and this is dyn. Compare it with something, for example claims.x == "y".`},
		{"what reads no claim", github, `true`, "line 1, column 1, at ‹true›: reads no claim, so it says the same of every token."},
		{"what reads none in many words", oidc, `["a"].all(x, x.size() == 1)`, "reads no claim"},

		{"what is too long", github, `claims.ref == "` + strings.Repeat("x", 2048) + `"`, "is longer than 2048 bytes. Make several policies of it."},
		{"what is too deep", github, strings.Repeat("(", 100) + `claims.ref == "x"` + strings.Repeat(")", 100), "is nested too deeply"},
		{"too many negations", github, strings.Repeat("!(", 100) + `claims.ref == "x"` + strings.Repeat(")", 100), "is nested too deeply"},
		{"too many parts", github, `claims.ref == "x"` + strings.Repeat(" && [].all(a, a)", 120), "has too many parts: at most 32 levels and 500 parts"},
		{"what takes too long", oidc, `claims.a.all(x, claims.b.all(y, claims.c.all(z, x == y && y == z)))`, "could take too long to evaluate: 59060603 steps, while 10000 are permitted."},
		{"text that grows", oidc, `claims.a.map(x, claims.a.map(y, x + y)).size() > 3`, "could take too long to evaluate"},
		{"what is not UTF-8", github, "claims.ref == \"\xff\"", "line 1, column 16: is not valid UTF-8 there."},
		{"text that changes its direction", github, "claims.ref == \"a\" // \u202e\" == feR.smialc\n", "line 1, column 22: has a character that cannot be seen (U+202E)."},
		{"a space without width", github, "claims.ref == \"main\u200b\"", "line 1, column 20: has a character that cannot be seen (U+200B)."},
		{"a line that writes over itself", github, "claims.ref == \"a\" // x\rtrue", "(U+000D)"},
		{"a NUL", github, "claims.ref == \"\x00\"", "(U+0000)"},
	} {
		t.Run(test.sentence, func(t *testing.T) {
			t.Parallel()
			_, err := condition.Compile(test.expression, kind(t, test.kind))
			want := strings.NewReplacer("‹", "`", "›", "`").Replace(test.want)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("%v\nwant … %s …", err, want)
			}
			e := new(condition.Error)
			if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || !strings.HasSuffix(e.Message, ".") {
				t.Errorf("%#v", err)
			}
		})
	}
}

func TestOfAnUnknownProviderNothingCanBeSaid(t *testing.T) {
	t.Parallel()
	if _, err := condition.Compile(`claims.ref == "x"`, nil); err == nil || !strings.Contains(err.Error(), "nothing is known of the provider") {
		t.Error(err)
	}
}
