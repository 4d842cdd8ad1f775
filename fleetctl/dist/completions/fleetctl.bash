# bash completion for fleetctl                             -*- shell-script -*-

_fleetctl() {
    # bash ends words at "@", ":" and "=", which are parts of names here: our words are what blanks separate.
    local line=${COMP_LINE:0:COMP_POINT} words word replies=() IFS=$' \t\n'
    read -ra words <<<"$line"
    [[ $line == *[[:blank:]] ]] && words+=('')
    local index=$((${#words[@]} - 1))
    local current=${words[index]} is_quoted=
    [[ $current == [\"\']* ]] && is_quoted=yes current=${current:1}
    # What bash takes for the beginning of the word stays as it is.
    local before=${current%"$2"}
    [[ $is_quoted ]] || current=${current//\\\\/\\}
    words[index]=$current
    while IFS=$'\t' read -r word _; do
        if [[ ! $is_quoted ]]; then
            word=${word//\\/\\\\}
            word=${word// /\\ }
        fi
        replies+=("${word#"$before"}")
    done < <("$1" __complete "$index" "${words[@]}" 2>/dev/null)
    COMPREPLY=("${replies[@]}")
    [[ ${#replies[@]} -eq 1 && ${replies[0]} == *[=/] ]] && compopt -o nospace
    return 0
}
complete -o nosort -F _fleetctl fleetctl
