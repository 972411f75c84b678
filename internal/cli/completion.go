package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is shown by completion --help.
func (*completionCmd) Help() string {
	return `The script knows commands, flags and the values of which there are few, and asks no
server. It is of this version of the program: make it anew after an upgrade.

Examples:
  source <(agentidp completion bash)
  agentidp completion zsh >"${fpath[1]}/_agentidp"
  agentidp completion fish >~/.config/fish/completions/agentidp.fish`
}

// Run prints the script.
func (c *completionCmd) Run(std *IO, k *kong.Context) error {
	script := map[string]func([]completed) string{"bash": bashScript, "zsh": zshScript, "fish": fishScript}[c.Shell]
	_, err := fmt.Fprint(std.Out, script(everyCommand(k.Model.Node)))
	return err
}

// completed is one command as a shell completes it: either commands follow, or flags.
type completed struct {
	path     string // without the program's name, which is ""
	commands []*kong.Node
	flags    []*kong.Flag
	values   []string // of the argument, where there are few
}

// everyCommand returns the program and all below it, each before those below.
func everyCommand(node *kong.Node) []completed {
	c := completed{path: node.Path(), commands: node.Children, flags: slices.Concat(node.AllFlags(true)...)}
	for _, arg := range node.Positional {
		c.values = append(c.values, choices(arg)...)
	}
	all := []completed{c}
	for _, child := range node.Children {
		all = append(all, everyCommand(child)...)
	}
	return all
}

// choices are the values that can be given, or none where there are too many to name.
func choices(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return slices.DeleteFunc(v.EnumSlice(), func(s string) bool { return s == "" })
}

// takesFile reports whether the value of a flag is the name of a file or folder.
func takesFile(f *kong.Flag) bool { return f.PlaceHolder == "FILE" || f.Tag.Type == "path" }

// spellings are the ways in which a flag is given.
func spellings(f *kong.Flag) []string {
	if f.Short == 0 {
		return []string{"--" + f.Name}
	}
	return []string{"--" + f.Name, "-" + string(f.Short)}
}

// steps are the words that lead from one command to one below it: "agent list", or
// " agent" from the program itself.
func steps(all []completed) []string {
	var out []string
	for _, c := range all {
		for _, child := range c.commands {
			out = append(out, c.path+" "+child.Name)
		}
	}
	return out
}

// quoted quotes for every shell: in single quotes all but these is what it is.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func quotedAll(all []string) []string {
	out := make([]string, len(all))
	for i := range all {
		out[i] = quoted(all[i])
	}
	return out
}

// brief is the first sentence of a help, in which nothing means anything to a shell.
func brief(help string) string {
	help, _, _ = strings.Cut(help, ". ")
	return strings.TrimSuffix(help, ".")
}

// before returns the words after which a value of a flag stands: "agent list -o".
func (c *completed) before(f *kong.Flag) []string {
	var out []string
	for _, s := range spellings(f) {
		out = append(out, c.path+" "+s)
	}
	return out
}

// valued calls back for every flag that has a value.
func valued(all []completed, visit func(after []string, f *kong.Flag)) {
	for _, c := range all {
		for _, f := range c.flags {
			if !f.IsBool() {
				visit(c.before(f), f)
			}
		}
	}
}

const bashHead = `# bash completion for agentidp; agentidp completion bash prints it.
_agentidp() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command="" words="" i
    if [[ $cur == "=" ]]; then
        cur=""
    elif [[ $prev == "=" ]]; then
        prev=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$command ${COMP_WORDS[i]}" in
            %s) command="${command:+$command }${COMP_WORDS[i]}" ;;
        esac
    done
    case "$command $prev" in
`

const bashTail = `            esac
            ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _agentidp agentidp
`

const bashFiles = `            compopt -o filenames 2>/dev/null
            local IFS=$'\n'
            COMPREPLY=($(compgen -f -- "$cur"))
            return
            ;;
`

// bashScript works with bash 3.2, which macOS has.
func bashScript(all []completed) string {
	var b strings.Builder
	fmt.Fprintf(&b, bashHead, strings.Join(quotedAll(steps(all)), "|"))
	var files, free []string
	valued(all, func(after []string, f *kong.Flag) {
		switch words := choices(f.Value); {
		case takesFile(f):
			files = append(files, after...)
		case words == nil:
			free = append(free, after...)
		default:
			fmt.Fprintf(&b, "        %s) words=%s ;;\n", strings.Join(quotedAll(after), "|"), quoted(strings.Join(words, " ")))
		}
	})
	fmt.Fprintf(&b, "        %s)\n%s", strings.Join(quotedAll(files), "|"), bashFiles)
	fmt.Fprintf(&b, "        %s) ;;\n", strings.Join(quotedAll(free), "|"))
	b.WriteString("        *)\n            case $command in\n")
	for _, c := range all {
		words := slices.Clone(c.values)
		for _, child := range c.commands {
			words = append(words, child.Name)
		}
		for _, f := range c.flags {
			words = append(words, spellings(f)...)
		}
		fmt.Fprintf(&b, "                %s) words=%s ;;\n", quoted(c.path), quoted(strings.Join(words, " ")))
	}
	return b.String() + bashTail
}
