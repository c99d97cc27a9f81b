#compdef corten
# Completion of corten for zsh:  source <(corten completion zsh)
# or this file as _corten in a directory of $fpath.
_corten() {
    local line
    local -a names texts open
    for line in "${(@f)$(corten __complete words "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}"; do
        if [[ $line == :files ]]; then
            _files
            return
        fi
        [[ -z $line ]] && continue
        if [[ ${line%%$'\t'*} == *[=:,] ]]; then
            open+=("${line%%$'\t'*}")
            continue
        fi
        names+=("${line%%$'\t'*}")
        texts+=("${line/$'\t'/  -- }")
    done
    (( ${#open} )) && compadd -S '' -- "${open[@]}"
    (( ${#names} )) && compadd -l -d texts -- "${names[@]}"
}
if [[ ${funcstack[1]} == _corten ]]; then
    _corten "$@"
else
    compdef _corten corten
fi
