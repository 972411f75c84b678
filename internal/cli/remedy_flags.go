package cli

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
)

// flags are the flags of a command on policies that say the members of an object, in the
// order of its help; nil is --unset. Members that it has no flag for are the server's. ok
// is false where a value cannot be said in a command line.
func (r *remedy) flags(command string, o object) (args string, ok bool) {
	ok = true
	var out strings.Builder
	say := func(flag, value string) {
		quoted, can := shellQuoted(value)
		ok = ok && can
		if strings.HasPrefix(value, "-") {
			fmt.Fprintf(&out, " --%s=%s", flag, quoted)
			return
		}
		fmt.Fprintf(&out, " --%s %s", flag, quoted)
	}
	for _, f := range commandOf(r.program, "policy", command).Flags {
		value, there := o[f.Tag.Get(memberTag)]
		if !f.Tag.Has(memberTag) || !there {
			continue
		}
		switch value := value.(type) {
		case nil:
			say("unset", f.Name)
		case bool:
			fmt.Fprintf(&out, " --%s=%t", f.Name, value)
		case object:
			for _, name := range sortedKeys(value) {
				if value[name] == nil {
					say("unset", f.Name+"."+name)
				}
				for _, v := range listOf(value[name]) {
					say(f.Name, name+"="+flagText(v))
				}
			}
		default:
			for _, v := range listOf(value) {
				say(f.Name, flagText(v))
			}
		}
	}
	return out.String(), ok
}

// flagText is a text or number of JSON as a flag takes it.
func flagText(v any) string {
	if n, ok := v.(float64); ok {
		return strconv.FormatFloat(n, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// commandOf finds a command by its path; the program's own are all there.
func commandOf(n *kong.Node, path ...string) *kong.Node {
	for _, name := range path {
		i := slices.IndexFunc(n.Children, func(child *kong.Node) bool { return child.Name == name })
		n = n.Children[i]
	}
	return n
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,-][A-Za-z0-9_./:@%+=,-]*$`)

// shellQuoted spells a value so that a POSIX shell takes it as it is, whatever it holds:
// names of branches and claims are chosen by strangers. ok is false where it cannot be
// printed.
func shellQuoted(s string) (quoted string, ok bool) {
	switch {
	case s != printable(s):
		return "", false
	case plainWord.MatchString(s):
		return s, true
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'", true
}
