# fish completion for agentidp; agentidp completion fish prints it.
function __agentidp_at
    set -l command
    for word in (commandline -opc)[2..-1]
        switch "$command $word"
            case ' thing' 'thing make' 'thing break'
                set command (string trim -- "$command $word")
        end
    end
    test "$command" = "$argv"
end
complete -c agentidp -f
complete -c agentidp -n '__agentidp_at' -a thing -d 'Things'
complete -c agentidp -n '__agentidp_at' -l help -s h -d 'Show context-sensitive help'
complete -c agentidp -n '__agentidp_at' -l verbose -s v -d 'Say more'
complete -c agentidp -n '__agentidp_at thing' -a make -d 'Make one'
complete -c agentidp -n '__agentidp_at thing' -a break -d 'Break one'
complete -c agentidp -n '__agentidp_at thing' -l help -s h -d 'Show context-sensitive help'
complete -c agentidp -n '__agentidp_at thing' -l verbose -s v -d 'Say more'
complete -c agentidp -n '__agentidp_at thing make' -l help -s h -d 'Show context-sensitive help'
complete -c agentidp -n '__agentidp_at thing make' -l verbose -s v -d 'Say more'
complete -c agentidp -n '__agentidp_at thing make' -l colour -s c -x -a 'red blue' -d 'red or blue'
complete -c agentidp -n '__agentidp_at thing make' -l from -r -F -d 'Read it from FILE'
complete -c agentidp -n '__agentidp_at thing make' -l name -x -d 'Its name: any'
complete -c agentidp -n '__agentidp_at thing break' -a 'softly hard'
complete -c agentidp -n '__agentidp_at thing break' -l help -s h -d 'Show context-sensitive help'
complete -c agentidp -n '__agentidp_at thing break' -l verbose -s v -d 'Say more'
