#compdef agentidp
# zsh completion for agentidp; agentidp completion zsh prints it.
_agentidp() {
    local command="" word prev=${words[CURRENT-1]}
    local -a found
    for word in "${(@)words[2,CURRENT-1]}"; do
        case "$command $word" in
            (' thing'|'thing make'|'thing break') command="${command:+$command }$word" ;;
        esac
    done
    if [[ ${words[CURRENT]} == --*=* ]]; then
        prev=${words[CURRENT]%%=*}
        compset -P '*='
    fi
    case "$command $prev" in
        ('thing make --colour'|'thing make -c') compadd -- 'red' 'blue'; return ;;
        ('thing make --from') _files; return ;;
        ('thing make --name') _message -r 'Its name: any'; return ;;
    esac
    case $command in
        ('') found=('thing:Things' '--help:Show context-sensitive help' '--verbose:Say more') ;;
        ('thing') found=('make:Make one' 'break:Break one' '--help:Show context-sensitive help' '--verbose:Say more') ;;
        ('thing make') found=('--help:Show context-sensitive help' '--verbose:Say more' '--colour:red or blue' '--from:Read it from FILE' '--name:Its name: any') ;;
        ('thing break') found=('softly' 'hard' '--help:Show context-sensitive help' '--verbose:Say more') ;;
    esac
    _describe agentidp found
}
if [[ ${funcstack[1]} == _agentidp ]]; then
    _agentidp "$@"
else
    compdef _agentidp agentidp
fi
