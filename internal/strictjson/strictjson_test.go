package strictjson_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp/internal/strictjson"
)

const depth = 8

func TestValid(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, data string }{
		{"an empty object", `{}`},
		{"an empty array", `[ ]`},
		{"white space of all four kinds around everything", " \t\r\n{ \"a\" : [ 1 , 2 ] , \"b\" : { } } \n"},
		{"a bare string", `"x"`},
		{"the three literals", `[true,false,null]`},
		{"numbers of every form", `[0,-0,1,10,1.5,-1.05e10,1E+3,2e-7,1e400,9223372036854775808]`},
		{"every escape", `"\"\\\/\b\f\n\r\t\u0001\u00e9\uFFFF"`},
		{"a surrogate pair", `"\ud83d\ude00"`},
		{"characters of two, three and four bytes", `"é€😀"`},
		{"one name in two objects", `{"a":{"x":1},"b":{"x":1}}`},
		{"one name in an object and in its parent", `{"a":{"a":1}}`},
		{"names that differ in case", `{"iss":1,"Iss":2,"iſs":3}`},
		{"an empty name", `{"":1}`},
		{"nesting at the cap", strings.Repeat("[", depth) + strings.Repeat("]", depth)},
		{"two objects of one parent, each at the cap", `[{"a":[[[[[[]]]]]]},{"a":[[[[[[]]]]]]}]`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := strictjson.Valid([]byte(tt.data), depth); err != nil {
				t.Errorf("Valid(%s) = %v", tt.data, err)
			}
		})
	}
}

func TestValidRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, data, want string }{
		{"nothing", ``, "unexpected character or end of data at byte 0"},
		{"white space alone", ` `, "unexpected character or end of data at byte 1"},
		{"A-057 trailing bytes", `{} x`, "unexpected bytes after the value at byte 3"},
		{"A-057 two objects", `{}{}`, "unexpected bytes after the value at byte 2"},
		{"A-057 a comment", `{/**/}`, "unexpected character or end of data at byte 1"},
		{"A-057 single quotes", `{'a':1}`, "unexpected character or end of data at byte 1"},
		{"A-057 NaN", `[NaN]`, "unexpected character or end of data at byte 1"},
		{"A-057 Infinity", `[-Infinity]`, "malformed number at byte 2"},
		{"white space that is not JSON's", "\u00a0{}", "unexpected character or end of data at byte 0"},
		{"A-055 a byte order mark", "\ufeff{}", "unexpected character or end of data at byte 0"},
		{"A-055 UTF-16", "{\x00}\x00", "unexpected character or end of data at byte 1"},
		{"A-055 bytes that are not UTF-8", "\"a\xff\"", "bytes that are not UTF-8 at byte 2"},
		{"A-055 a truncated character", "\"\xe2\x82\"", "bytes that are not UTF-8 at byte 1"},
		{"A-055 a character cut off by the end", "\"\xe2\x82", "bytes that are not UTF-8 at byte 1"},
		{"A-063 an overlong slash", "\"\xc0\xaf\"", "bytes that are not UTF-8 at byte 1"},
		{"A-063 an overlong NUL", "\"\xc0\x80\"", "bytes that are not UTF-8 at byte 1"},
		{"A-063 a surrogate in UTF-8", "\"\xed\xa0\x80\"", "bytes that are not UTF-8 at byte 1"},
		{"beyond Unicode", "\"\xf4\x90\x80\x80\"", "bytes that are not UTF-8 at byte 1"},
		{"A-063 a lone high surrogate", `"\ud800"`, "escape of a lone surrogate at byte 1"},
		{"A-063 a lone low surrogate", `"\udc00"`, "escape of a lone surrogate at byte 1"},
		{"A-063 two high surrogates", `"\ud800\ud800"`, "escape of a lone surrogate at byte 1"},
		{"A-063 half a pair and a letter", `"\ud83d\u0041"`, "escape of a lone surrogate at byte 1"},
		{"A-063 an escaped NUL", `"a\u0000"`, "NUL in a string at byte 2"},
		{"a raw NUL", "\"\x00\"", "control character in a string at byte 1"},
		{"a raw newline", "\"\n\"", "control character in a string at byte 1"},
		{"an unknown escape", `"\x41"`, "malformed escape at byte 1"},
		{"an escape cut off by the quote", `"\u12"`, "malformed escape at byte 1"},
		{"an escape cut off by the end", `"\`, "malformed escape at byte 1"},
		{"hexadecimal that is none", `"\u00g0"`, "malformed escape at byte 1"},
		{"an unterminated string", `"abc`, "unterminated string at byte 4"},
		{"an unterminated object", `{"a":1`, "unexpected character or end of data at byte 6"},
		{"an unterminated array", `[1`, "unexpected character or end of data at byte 2"},
		{"a trailing comma in an object", `{"a":1,}`, "unexpected character or end of data at byte 7"},
		{"a trailing comma in an array", `[1,]`, "unexpected character or end of data at byte 3"},
		{"a leading comma", `[,1]`, "unexpected character or end of data at byte 1"},
		{"a name that is no string", `{1:1}`, "unexpected character or end of data at byte 1"},
		{"a name without a colon", `{"a"}`, "unexpected character or end of data at byte 4"},
		{"a name without a value", `{"a":}`, "unexpected character or end of data at byte 5"},
		{"half a literal", `[tru]`, "unexpected character or end of data at byte 1"},
		{"a literal that goes on", `[truex]`, "unexpected character or end of data at byte 5"},
		{"a leading zero", `01`, "malformed number at byte 1"},
		{"a negative leading zero", `-01`, "malformed number at byte 2"},
		{"a leading plus", `+1`, "unexpected character or end of data at byte 0"},
		{"a minus alone", `-`, "malformed number at byte 1"},
		{"a point without digits", `1.`, "malformed number at byte 2"},
		{"a point without a number", `.5`, "unexpected character or end of data at byte 0"},
		{"an exponent without digits", `1e`, "malformed number at byte 2"},
		{"hexadecimal", `0x1`, "unexpected bytes after the value at byte 1"},
		{"A-058 one name twice", `{"iss":1,"iss":2}`, "duplicate name at byte 17"},
		{"A-058 one name twice, once with an escape", `{"iss":1,"\u0069ss":2}`, "duplicate name at byte 22"},
		{"A-058 one name twice, with different escapes", `{"a\u002fb":1,"a\/b":2}`, "duplicate name at byte 23"},
		{"one name twice, as a pair and as it is", `{"😀":1,"\ud83d\ude00":2}`, "duplicate name at byte 27"},
		{"an empty name twice", `{"":1,"":2}`, "duplicate name at byte 11"},
		{"A-060 one name twice in a nested object", `{"a":[{"b":1,"b":2}]}`, "duplicate name at byte 19"},
		{"one name twice around a nested object", `{"a":{"b":1},"a":{}}`, "duplicate name at byte 20"},
		{"nesting over the cap", strings.Repeat("[", depth+1), "nesting too deep at byte 8"},
		{"A-040 nesting of ten thousand", strings.Repeat(`{"a":`, 10_000), "nesting too deep at byte 40"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := strictjson.Valid([]byte(tt.data), depth)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if _, ok := errors.AsType[*strictjson.Error](err); !ok {
				t.Errorf("the error is a %T", err)
			}
		})
	}
}

// Objects with many members take another path than small ones.
func TestDuplicatesAmongManyNames(t *testing.T) {
	t.Parallel()
	object := func(names []string) []byte {
		return []byte("{" + strings.Join(names, ":0,") + ":0}")
	}
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf(`"n%d"`, i))
	}
	if err := strictjson.Valid(object(names), 1); err != nil {
		t.Fatalf("a thousand different names: %v", err)
	}
	names[3] = `"n\u0039\u0039\u0039"`
	err := strictjson.Valid(object(names), 1)
	if e, ok := errors.AsType[*strictjson.Error](err); !ok || e.Problem != "duplicate name" {
		t.Errorf("n999 twice: %v", err)
	}
}

func TestMembersGivesNamesDecodedAndValuesRaw(t *testing.T) {
	t.Parallel()
	const data = ` {"a": "x\u0041" ,"\u0062\n":[1, {"c":2}],"é":-1.5e3,"":null}`
	var got []string
	err := strictjson.Members([]byte(data), depth, func(name string, value []byte) error {
		got = append(got, fmt.Sprintf("%q=%s", name, value))
		return nil
	})
	want := []string{`"a"="x\u0041"`, `"b\n"=[1, {"c":2}]`, `"é"=-1.5e3`, `""=null`}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestMembersKeepsTheOrderOfManyNames(t *testing.T) {
	t.Parallel()
	var data strings.Builder
	var want []string
	for i := range 100 {
		want = append(want, fmt.Sprint((i*37)%100))
		fmt.Fprintf(&data, `,"%s":0`, want[i])
	}
	var got []string
	err := strictjson.Members([]byte("{"+data.String()[1:]+"}"), depth, func(name string, _ []byte) error {
		got = append(got, name)
		return nil
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestMembersVisitsNothingOfABadDocument(t *testing.T) {
	t.Parallel()
	for _, data := range []string{`{"a":1,"a":2}`, `{"a":1} x`, `{"a":1,"b":"` + "\xff" + `"}`, `["a"]`, `null`, `"a"`, `1`, ``} {
		err := strictjson.Members([]byte(data), depth, func(name string, _ []byte) error {
			t.Errorf("%s: visited %q", data, name)
			return nil
		})
		if err == nil {
			t.Errorf("%s was accepted", data)
		}
	}
}

func TestElements(t *testing.T) {
	t.Parallel()
	for data, want := range map[string][]string{
		` [ ] `:                         nil,
		`["a" , {"b":[1,2]},[3] ,null]`: {`"a"`, `{"b":[1,2]}`, `[3]`, `null`},
	} {
		var got []string
		err := strictjson.Elements([]byte(data), depth, func(value []byte) error {
			got = append(got, string(value))
			return nil
		})
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v", data, got, err)
		}
	}
	for _, data := range []string{`{}`, `"a"`, ``, `[1,]`, `[{"a":1,"a":1}]`, `[1]1`} {
		err := strictjson.Elements([]byte(data), depth, func([]byte) error {
			t.Errorf("%s: visited an element", data)
			return nil
		})
		if err == nil {
			t.Errorf("%s was accepted", data)
		}
	}
}

func TestAnErrorOfVisitEndsTheVisit(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop")
	calls := 0
	members := strictjson.Members([]byte(`{"a":1,"b":2}`), depth, func(string, []byte) error { calls++; return stop })
	elements := strictjson.Elements([]byte(`[1,2]`), depth, func([]byte) error { calls++; return stop })
	if members != stop || elements != stop || calls != 2 { //nolint:errorlint // the very error is the contract
		t.Errorf("got %v and %v after %d calls", members, elements, calls)
	}
}

func TestString(t *testing.T) {
	t.Parallel()
	good := map[string]string{
		`""`:                         "",
		`"org/repo"`:                 "org/repo",
		`"a\"\\\/\b\f\n\r\té\u00e9"`: "a\"\\/\b\f\n\r\téé",
		`"\uD83D\uDE00!"`:            "😀!",
	}
	for _, data := range slices.Sorted(maps.Keys(good)) {
		if got, err := strictjson.String([]byte(data)); err != nil || got != good[data] {
			t.Errorf("String(%s) = %q, %v", data, got, err)
		}
	}
	for _, data := range []string{``, `1`, `null`, `["a"]`, `"a`, `"a" `, `"a""b"`, ` "a"`, `"\u0000"`, `"\ud800"`, "\"\xff\""} {
		if got, err := strictjson.String([]byte(data)); err == nil {
			t.Errorf("String(%s) = %q", data, got)
		}
	}
}
