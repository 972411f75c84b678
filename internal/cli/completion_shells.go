package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

const zshHead = `#compdef agentidp
# zsh completion for agentidp; agentidp completion zsh prints it.
_agentidp() {
    local command="" word prev=${words[CURRENT-1]}
    local -a found
    for word in "${(@)words[2,CURRENT-1]}"; do
        case "$command $word" in
            (%s) command="${command:+$command }$word" ;;
        esac
    done
    if [[ ${words[CURRENT]} == --*=* ]]; then
        prev=${words[CURRENT]%%%%=*}
        compset -P '*='
    fi
    case "$command $prev" in
`

const zshTail = `    esac
    _describe agentidp found
}
if [[ ${funcstack[1]} == _agentidp ]]; then
    _agentidp "$@"
else
    compdef _agentidp agentidp
fi
`

func zshScript(all []completed) string {
	var b strings.Builder
	fmt.Fprintf(&b, zshHead, strings.Join(quotedAll(steps(all)), "|"))
	valued(all, func(after []string, f *kong.Flag) {
		does := "_message -r " + quoted(brief(f.Help))
		if words := choices(f.Value); words != nil {
			does = "compadd -- " + strings.Join(quotedAll(words), " ")
		}
		if takesFile(f) {
			does = "_files"
		}
		fmt.Fprintf(&b, "        (%s) %s; return ;;\n", strings.Join(quotedAll(after), "|"), does)
	})
	b.WriteString("    esac\n    case $command in\n")
	for _, c := range all {
		found := slices.Clone(c.values)
		for _, child := range c.commands {
			found = append(found, child.Name+":"+brief(child.Help))
		}
		for _, f := range c.flags {
			found = append(found, "--"+f.Name+":"+brief(f.Help))
		}
		fmt.Fprintf(&b, "        (%s) found=(%s) ;;\n", quoted(c.path), strings.Join(quotedAll(found), " "))
	}
	return b.String() + zshTail
}

const fishHead = `# fish completion for agentidp; agentidp completion fish prints it.
function __agentidp_at
    set -l command
    for word in (commandline -opc)[2..-1]
        switch "$command $word"
            case %s
                set command (string trim -- "$command $word")
        end
    end
    test "$command" = "$argv"
end
complete -c agentidp -f
`

func fishScript(all []completed) string {
	var b strings.Builder
	fmt.Fprintf(&b, fishHead, strings.Join(quotedAll(steps(all)), " "))
	for _, c := range all {
		at := "complete -c agentidp -n " + quoted(strings.TrimSpace("__agentidp_at "+c.path))
		for _, child := range c.commands {
			fmt.Fprintf(&b, "%s -a %s -d %s\n", at, child.Name, quoted(brief(child.Help)))
		}
		if c.values != nil {
			fmt.Fprintf(&b, "%s -a %s\n", at, quoted(strings.Join(c.values, " ")))
		}
		for _, f := range c.flags {
			fmt.Fprintf(&b, "%s -l %s%s -d %s\n", at, f.Name, fishValue(f), quoted(brief(f.Help)))
		}
	}
	return b.String()
}

// fishValue says what follows a flag, and its short form.
func fishValue(f *kong.Flag) string {
	out := ""
	if f.Short != 0 {
		out = " -s " + string(f.Short)
	}
	switch words := choices(f.Value); {
	case f.IsBool():
		return out
	case takesFile(f):
		return out + " -r -F"
	case words != nil:
		return out + " -x -a " + quoted(strings.Join(words, " "))
	}
	return out + " -x"
}
