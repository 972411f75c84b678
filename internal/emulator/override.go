package emulator

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

type absent struct{}

// Absent as the value of a claim leaves the claim out of the token.
var Absent absent

// ParseClaim reads one claim from a command line:
//
//	name=text    the claim is this string, as nearly all of GitHub's are, ids and booleans too
//	name:=JSON   the claim is this JSON value: exp:=1900000000, aud:=["a","b"]
//	name:=       the claim is left out
func ParseClaim(arg string) (name string, value any, err error) {
	name, text, ok := strings.Cut(arg, "=")
	if !ok || name == "" || name == ":" {
		return "", nil, fmt.Errorf("claim: %q is not name=text, name:=JSON or name:= to leave the claim out", arg)
	}
	name, isJSON := strings.CutSuffix(name, ":")
	switch {
	case !isJSON:
		return name, text, nil
	case text == "":
		return name, Absent, nil
	case !json.Valid([]byte(text)):
		return "", nil, fmt.Errorf("claim %s: %q is not JSON; for a string, write %s=%s", name, text, name, text)
	}
	return name, json.RawMessage(text), nil
}

// override applies claims to c. Values are what json.Marshal takes, or Absent.
// Strings must be UTF-8, because json.Marshal would alter others in silence.
func override(c, claims map[string]any) error {
	for name, value := range claims {
		if name == "" || !utf8.ValidString(name) {
			return fmt.Errorf("claim: %q is not a name", name)
		}
		if s, ok := value.(string); ok && !utf8.ValidString(s) {
			return fmt.Errorf("claim %s: %q is not UTF-8", name, s)
		}
		if value == Absent {
			delete(c, name)
			continue
		}
		c[name] = value
	}
	return nil
}
