# bash completion for agentidp; agentidp completion bash prints it.
_agentidp() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command="" words="" i
    if [[ $cur == "=" ]]; then
        cur=""
    elif [[ $prev == "=" ]]; then
        prev=${COMP_WORDS[COMP_CWORD-2]}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$command ${COMP_WORDS[i]}" in
            ' thing'|'thing make'|'thing break') command="${command:+$command }${COMP_WORDS[i]}" ;;
        esac
    done
    case "$command $prev" in
        'thing make --colour'|'thing make -c') words='red blue' ;;
        'thing make --from')
            compopt -o filenames 2>/dev/null
            local IFS=$'\n'
            COMPREPLY=($(compgen -f -- "$cur"))
            return
            ;;
        'thing make --name') ;;
        *)
            case $command in
                '') words='thing --help -h --verbose -v' ;;
                'thing') words='make break --help -h --verbose -v' ;;
                'thing make') words='--help -h --verbose -v --colour -c --from --name' ;;
                'thing break') words='softly hard --help -h --verbose -v' ;;
            esac
            ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _agentidp agentidp
