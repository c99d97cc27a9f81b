# Completion of corten for bash:  source <(corten completion bash)
# It goes for an alias too:       complete -F _corten docker
_corten() {
    local line="${COMP_LINE:0:COMP_POINT}" head="" candidate
    # Readline replaces only what follows the last of its word breaks.
    local word="${line##*[[:space:]]}"
    [[ $COMP_WORDBREAKS == *:* && $word == *:* ]] && head="${word%"${word##*:}"}"
    [[ $COMP_WORDBREAKS == *=* && ${word#"$head"} == *=* ]] && head="${word%"${word##*=}"}"
    COMPREPLY=()
    while IFS= read -r candidate; do
        if [[ $candidate == :files ]]; then
            compopt -o default
            COMPREPLY=()
            return
        fi
        candidate="${candidate%%$'\t'*}"
        COMPREPLY+=("${candidate#"$head"}")
    done < <(corten __complete line "$line" 2>/dev/null)
    [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=:,] ]] && compopt -o nospace
    return 0
}
complete -F _corten corten
