package strictjson_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sentryagent/agentidp/internal/strictjson"
)

// text draws a string as a claim may have one.
func text(t *rapid.T, label string) string {
	runes := rapid.OneOf(rapid.Rune(), rapid.SampledFrom([]rune("a\"\\/\b\f\n\r\té\u2028😀K\u212aſ")))
	return strings.ReplaceAll(strings.ToValidUTF8(rapid.StringOfN(runes, 0, 12, -1).Draw(t, label), ""), "\x00", "")
}

// value draws any value, spelled as an encoder spells it.
func value(t *rapid.T, depth int) string {
	kinds := 6
	if depth == 0 {
		kinds = 4
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return encoded(text(t, "string"))
	case 1:
		return strconv.FormatInt(rapid.Int64().Draw(t, "integer"), 10)
	case 2:
		return encoded(rapid.Float64Range(-1e300, 1e300).Draw(t, "number"))
	case 3:
		return rapid.SampledFrom([]string{"true", "false", "null"}).Draw(t, "literal")
	case 4:
		return array(t, depth-1)
	default:
		object, _, _ := object(t, depth-1)
		return object
	}
}

func array(t *rapid.T, depth int) string {
	var elements []string
	for range rapid.IntRange(0, 4).Draw(t, "elements") {
		elements = append(elements, value(t, depth))
	}
	return "[" + strings.Join(elements, ",") + "]"
}

// object draws one, and returns its names and values in their order too.
func object(t *rapid.T, depth int) (whole string, names, values []string) {
	seen := map[string]bool{}
	var members []string
	for range rapid.IntRange(0, 6).Draw(t, "members") {
		name := text(t, "name")
		if seen[name] {
			continue
		}
		seen[name] = true
		names, values = append(names, name), append(values, value(t, depth))
		members = append(members, encoded(name)+":"+values[len(values)-1])
	}
	return "{" + strings.Join(members, ",") + "}", names, values
}

func encoded(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// What an encoder writes is read as it was written: no name, value or order is another,
// nothing is missing, and strings come back as they were.
func TestWhatIsEncodedIsReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		whole, names, values := object(t, 4)
		var again []string
		i := 0
		err := strictjson.Members([]byte(whole), 16, func(name string, value []byte) error {
			if i >= len(names) || name != names[i] || string(value) != values[i] {
				t.Fatalf("member %d of %s is %q: %s", i, whole, name, value)
			}
			i++
			if s, err := strictjson.String(value); err == nil && encoded(s) != string(value) {
				return fmt.Errorf("%s is read as %q", value, s)
			}
			again = append(again, encoded(name)+":"+string(value))
			return nil
		})
		if err != nil {
			t.Fatalf("%s: %v", whole, err)
		}
		if got := "{" + strings.Join(again, ",") + "}"; got != whole {
			t.Fatalf("%s is read as %s", whole, got)
		}
	})
}
