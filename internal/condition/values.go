package condition

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/traits"

	"github.com/sentryagent/agentidp"
)

// Verified says why no condition may be on a claim that every token is held to before any
// policy is read, or returns "".
func Verified(claim string, kind *agentidp.ProviderKind) string {
	if kind != nil && kind.ClaimNames[agentidp.ClaimTokenID] == claim {
		claim = "jti"
	}
	return verified[claim]
}

var verified = map[string]string{
	"iss": "is the same in all tokens of a provider. Leave it out: provider says it.",
	"aud": "is for this server in every token that is accepted. Leave it out; which audiences are, the provider says.",
	"exp": "is checked in every token. Leave it out; expiresAt ends a policy.",
	"iat": "is checked in every token. Leave it out; expiresAt ends a policy.",
	"nbf": "is checked in every token. Leave it out; expiresAt ends a policy.",
	"jti": "is another in every token, and each is accepted once. Leave it out.",
}

// values returns the claims that are read, as CEL has them, and the names of those that
// are absent. A claim that is there and has no value that could be compared is an error,
// as has(claims.name) must not say that it is absent.
func (c *Condition) values(source agentidp.ClaimSource) (read any, absent []string, err error) {
	if c.typed {
		texts := make(map[string]string, len(c.reads))
		absent, err = c.each(source, func(name string, _ []byte) (err error) {
			texts[name], err = textOf(source, name)
			return err
		})
		return texts, absent, err
	}
	values := make(map[string]any, len(c.reads))
	absent, err = c.each(source, func(name string, raw []byte) (err error) {
		if raw[0] == '"' {
			values[name], err = textOf(source, name)
		} else if values[name], err = value(raw); err != nil {
			err = fmt.Errorf("the claim %s %w", name, err)
		}
		return err
	})
	return values, absent, err
}

// each goes through the claims that are read and there, up to the first error, and returns
// the names of the others.
func (c *Condition) each(source agentidp.ClaimSource, do func(name string, raw []byte) error) (absent []string, err error) {
	for _, name := range c.reads {
		raw := rawOf(source, name)
		if raw == nil {
			absent = append(absent, name)
			continue
		}
		if err := do(name, raw); err != nil {
			return nil, err
		}
	}
	return absent, nil
}

func textOf(source agentidp.ClaimSource, name string) (string, error) {
	text, ok := source.ReadClaim(name)
	if !ok {
		return "", fmt.Errorf("the claim %s is not text that can be compared", name)
	}
	return text, nil
}

// rawOf returns a claim as JSON; null is none.
func rawOf(source agentidp.ClaimSource, name string) []byte {
	if source == nil {
		return nil
	}
	raw := bytes.TrimSpace(source.ReadJSON(name))
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	return raw
}

var (
	errJSON   = errors.New("cannot be read")
	errNumber = errors.New("has a number that cannot be held exactly")
)

// value returns JSON as CEL has it.
func value(raw []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var v any
	if err := decoder.Decode(&v); err != nil {
		return nil, errJSON
	}
	return exact(v)
}

// exact makes numbers of what was decoded, in place, and objects that are gone through in
// one order. Members that are null are left out, like claims that are.
func exact(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		return number(string(v))
	case []any:
		for i := range v {
			if v[i], err = exact(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for name, member := range v {
			if member == nil {
				delete(v, name)
			} else if v[name], err = exact(member); err != nil {
				return nil, err
			}
		}
		return object{types.NewStringInterfaceMap(types.DefaultTypeAdapter, v), v}, nil
	}
	return v, nil
}

// number returns a number that is the one that was spelled: an id beyond 2⁵³ is never
// rounded to its neighbour.
func number(s string) (any, error) {
	if !strings.ContainsAny(s, ".eE") {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n, nil
		}
		if n, err := strconv.ParseUint(s, 10, 64); err == nil {
			return n, nil
		}
		return nil, errNumber
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.Abs(f) > 1<<53 {
		return nil, errNumber
	}
	return f, nil
}

// object is a JSON object whose members have an order, so that an expression that goes
// through them always says the same.
type object struct {
	traits.Mapper
	members map[string]any
}

// Iterator implements traits.Iterable.
func (o object) Iterator() traits.Iterator {
	return types.NewStringList(types.DefaultTypeAdapter, slices.Sorted(maps.Keys(o.members))).Iterator()
}

// noValue says why an evaluation ended without a value.
func noValue(err error, absent []string) error {
	switch message := err.Error(); {
	case strings.Contains(message, "cost limit"):
		return fmt.Errorf("evaluating it with these claims takes more than %d steps", maxCost)
	case strings.Contains(message, errParts.Error()):
		return fmt.Errorf("it compares two lists or objects that both have more than %d parts", maxParts)
	case len(absent) > 0:
		return fmt.Errorf("the token has no claim %s", strings.Join(absent, ", "))
	case strings.Contains(message, "no such overload"):
		return errors.New("a claim is of a type with which it cannot be compared like that")
	default:
		return errors.New(clip(message))
	}
}
