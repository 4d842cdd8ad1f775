# fish completion for fleetctl

function __fleetctl_complete
    set -l before (commandline --current-process --tokenize --cut-at-cursor)
    fleetctl __complete (count $before) $before (commandline --current-token --cut-at-cursor) 2>/dev/null
end

complete --command fleetctl --no-files --arguments '(__fleetctl_complete)'
