"""Completion in bash, zsh and fish: click finds what may follow, these scripts show it.

Click's own scripts know values that are words of their own only: of ``--format=m`` they complete nothing or delete the
option.  Here every candidate is a line ``kind<TAB>value<TAB>meaning``, the same for all shells.
"""

from __future__ import annotations

import os
from typing import Any

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

_BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' current="${COMP_WORDS[COMP_CWORD]}" prefix="" kind value
    [[ $current == --*=* ]] && prefix="${current%%%%=*}="  # only where COMP_WORDBREAKS holds no '='
    while IFS=$'\\t' read -r kind value _; do
        case $kind in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                COMPREPLY+=("$prefix$value")
                [[ $value == *= ]] && compopt -o nospace
                ;;
        esac
    done < <(COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD %(complete_var)s=bash_complete "$1")
    return 0
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local -a found keys values
    local line kind value meaning
    (( $+commands[%(prog_name)s] )) || return 1
    found=("${(@f)$(COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) %(complete_var)s=zsh_complete %(prog_name)s)}")
    if [[ $PREFIX == --*=* ]]; then  # only what follows '=' is completed
        IPREFIX="$IPREFIX${PREFIX%%%%=*}="
        PREFIX="${PREFIX#*=}"
    fi
    for line in $found; do
        IFS=$'\\t' read -r kind value meaning <<< "$line"
        case $kind in
            dir) _path_files -/ ;;
            file) _path_files -f ;;
            plain)
                line="${value//:/\\\\:}${meaning:+:$meaning}"
                if [[ $value == *= ]]; then keys+=("$line"); else values+=("$line"); fi
                ;;
        esac
    done
    (( $#keys )) && _describe -V keys keys -S ''
    (( $#values )) && _describe -V values values
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then  # a file of $fpath
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""

_FISH = """\
function %(complete_func)s
    set -l prefix (string match -r -- '^--[^=]+=' (commandline -ct))
    for line in (env COMP_WORDS=(commandline -cp) COMP_CWORD=(commandline -ct) %(complete_var)s=fish_complete %(prog_name)s)
        set -l part (string split \\t -- $line)
        switch $part[1]
            case dir
                for path in (__fish_complete_directories $part[2])
                    echo "$prefix$path"
                end
            case file
                for path in (__fish_complete_path $part[2])
                    echo "$prefix$path"
                end
            case plain
                echo "$prefix$part[2]"\\t"$part[3]"
        end
    end
end

complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


def _line(item: CompletionItem[Any]) -> str:
    return f"{item.type}\t{item.value}\t{' '.join((item.help or '').split())}"


@add_completion_class
class Bash(BashComplete):
    """Bash, which splits words at ``=`` and replaces only what follows it."""

    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor with their ``=`` put back, and the word at the cursor."""
        number = int(os.environ["COMP_CWORD"])
        split = split_arg_string(os.environ["COMP_WORDS"])[1 : number + 1]
        words: list[str] = []
        joins = False
        for word in split + [""] * (number - len(split)):  # the word at the cursor may be empty
            if words and (word == "=" or joins):
                words[-1] += word
            else:
                words.append(word)
            joins = word == "="
        return words[:-1], words[-1]

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """One candidate."""
        return _line(item)


@add_completion_class
class Zsh(ZshComplete):
    """Zsh, which is told to complete only what follows ``=``."""

    source_template = _ZSH

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """One candidate."""
        return _line(item)


@add_completion_class
class Fish(FishComplete):
    """Fish, whose candidates are whole words, with the option in front of ``=``."""

    source_template = _FISH

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """One candidate."""
        return _line(item)


SHELLS: dict[str, type[BashComplete] | type[ZshComplete] | type[FishComplete]] = {
    "bash": Bash,
    "zsh": Zsh,
    "fish": Fish,
}
"""The shells by name."""
