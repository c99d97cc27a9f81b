# Completion of corten for fish:  corten completion fish | source
function __corten_complete
    set -l typed (commandline -opc)
    set -e typed[1]
    set -l found (corten __complete words $typed (commandline -ct) 2>/dev/null)
    if test "$found" = :files
        __fish_complete_path (commandline -ct)
    else if set -q found[1]
        printf '%s\n' $found
    end
end
complete -c corten -f -a '(__corten_complete)'
