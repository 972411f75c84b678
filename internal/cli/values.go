package cli

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sentryagent/agentidp"
)

// values are how flags are read where kong would let pass what cannot be meant, or
// refuse it in the words of a Go package. A flag of type uuid or number is an id: a
// malformed one would choose nothing, which looks as if there were nothing.
func values() kong.Option {
	return kong.OptionFunc(func(k *kong.Kong) error {
		return errors.Join(
			kong.NamedMapper("uuid", read(parseUUID)).Apply(k),
			kong.NamedMapper("number", read(parseNumber)).Apply(k),
			kong.NamedMapper("reason", read(parseReason)).Apply(k),
			kong.TypeMapper(reflect.TypeFor[time.Time](), read(parseInstant)).Apply(k),
			kong.TypeMapper(reflect.TypeFor[time.Duration](), read(parseDuration)).Apply(k),
		)
	})
}

func read[T any](parse func(string) (T, error)) kong.MapperFunc {
	return func(ctx *kong.DecodeContext, target reflect.Value) error {
		token, err := ctx.Scan.PopValue("a value")
		if err != nil {
			return err
		}
		v, err := parse(token.String())
		if err != nil {
			return err
		}
		if target.Kind() == reflect.Slice { // of a repeatable flag; each time it is one more
			target.Set(reflect.Append(target, reflect.ValueOf(v)))
			return nil
		}
		target.Set(reflect.ValueOf(v))
		return nil
	}
}

func parseUUID(s string) (string, error) {
	if !agentidp.IsID(s) {
		return "", fmt.Errorf("%q is not an id; give the UUID in lower case", s)
	}
	return s, nil
}

const maxNumber = 20 // digits

func parseNumber(s string) (string, error) {
	if s == "" || len(s) > maxNumber || strings.Trim(s, "0123456789") != "" {
		return "", fmt.Errorf("%q is not a repository's numeric id; give the digits alone, such as 74", s)
	}
	return s, nil
}

// reasonToBeGiven stands in commands for the reason that only whoever takes the risk can
// give.
const reasonToBeGiven = "WHY THIS IS RIGHT"

func parseReason(s string) (string, error) {
	if s == reasonToBeGiven {
		return "", fmt.Errorf("%q only stands for the reason; say in your own words why the risk is right, because it is kept in the policy and in the audit log", s)
	}
	return s, nil
}

func parseInstant(s string) (time.Time, error) {
	if s == "now" {
		return time.Now(), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("%q is not an instant such as 2026-11-21T12:00:00Z, or now", s)
	}
	return t, nil
}

const day = 24 * time.Hour

func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * day, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as 30d, 1h or 90s", s)
	}
	return d, nil
}

// durationText writes a duration as people give it: 90d, 15m, 1m30s.
func durationText(d time.Duration) string {
	if d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// checkGiven refuses flags that are given without a value. An empty one is a shell
// variable that nobody set, and to take it for a flag that was left out would widen
// what is chosen: from one repository's policies to all.
func checkGiven(k *kong.Context) error {
	var errs []error
	for _, path := range k.Path {
		if f := path.Flag; f != nil && !path.Resolved && isBlank(f.Target) {
			errs = append(errs, fmt.Errorf("--%s: it is empty; give a value, or leave the flag out", f.Name))
		}
	}
	return errors.Join(errs...)
}

// isBlank reports whether a text is, or one of several.
func isBlank(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String:
		return strings.TrimSpace(v.String()) == ""
	case reflect.Slice:
		for i := range v.Len() {
			if isBlank(v.Index(i)) {
				return true
			}
		}
	}
	return false
}

// aToken is what begins like a JSON Web Token: {" in base64url, and then a dot.
// aSecret is what a client secret begins with.
var (
	aToken  = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{5,}\.`)
	aSecret = regexp.MustCompile(`agentidp_cs_[0-9a-f]{32}_[0-9A-Za-z]{5,}`)
)

// checkArguments refuses a token or a secret in the command line, where every user of
// the machine can read it.
func checkArguments(args []string) error {
	if slices.ContainsFunc(args, aSecret.MatchString) {
		return usageError{errors.New("a client secret stands in the command line, where others can read it: replace it (agentidp credential rotate, with the credential's id, which credential list shows)")}
	}
	if slices.ContainsFunc(args, aToken.MatchString) {
		return usageError{errors.New("a token stands in the command line, where others can read it, and is not taken from there: end it (agentidp token revoke), and give the next one by AGENTIDP_TOKEN, --token-file or standard input")}
	}
	return nil
}

// refuseLine complains about a command line that cannot be run, and says where the
// right one is described.
func refuseLine(std *IO, k *kong.Context, err error) int {
	help := `"agentidp --help", or "agentidp COMMAND --help"`
	text := strings.Replace(err.Error(), `must be one of "",`, "must be one of ", 1) // "" is the default and cannot be given
	if parsing, ok := errors.AsType[*kong.ParseError](err); ok {
		k = parsing.Context
	}
	if k != nil && k.Selected() != nil {
		help = `"` + k.Selected().FullPath() + ` --help"`
		for _, f := range k.Selected().Flags {
			if f.Required && len(f.Envs) > 0 {
				text = strings.Replace(text, f.Summary(), f.Summary()+", or "+f.Envs[0]+" in the environment", 1)
			}
		}
	}
	text = strings.TrimSuffix(text, `, did you mean "-h"?`) // of every flag of one letter
	if arg, ok := strings.CutPrefix(text, "unexpected argument "); ok && k != nil && readsFiles(k.Selected()) {
		text += "; to read it, put -f before it: -f " + arg
	}
	complain(std, errors.New(text))
	fmt.Fprintf(std.Err, "Run %s.\n", help)
	return exitUsage
}

// readsFiles reports whether a command reads files that -f names.
func readsFiles(command *kong.Node) bool {
	return command != nil && slices.ContainsFunc(command.Flags, func(f *kong.Flag) bool { return f.Short == 'f' && f.Name == "file" })
}
