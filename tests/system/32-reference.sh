#!/bin/bash
# The documents say what the programs do: the reference is what their tables print, and the prose names commands that exist.
# shellcheck disable=SC2317
. "$(dirname "$0")/sandbox.bash"
mkdir "$TMP/doc"
"$HERE/deploy/doc/print" "$BUILD" "$TMP/doc"

agrees() { # PAGE
    diff -u "$HERE/deploy/doc/$1.md" "$TMP/doc/$1.md" && return
    echo "mend it by: deploy/doc/print $BUILD"
    return 1
}

# `failoverctl WORD` in the text, and options after it on that line.
commands_exist() { # FILE
    local word status=0
    while read -r word; do
        "$BUILD/failoverctl" help "$word" >/dev/null 2>&1 || { echo "$1: there is no command \"$word\"" && status=1; }
    done < <(grep -oE '(`|^ +)failoverctl [a-z][a-z-]+' "$1" | sed 's/.* //' | sort -u)
    return "$status"
}

# [words](path): the path is there.
links_lead_somewhere() { # FILE
    local path status=0
    while read -r path; do
        [[ $path == http* || -e $(dirname "$1")/$path ]] || { echo "$1: there is no $path" && status=1; }
    done < <(grep -oE '\]\([^)#]+\)' "$1" | sed 's/^](//;s/)$//')
    return "$status"
}

# A command or a file of the tree, as `code` names it: it is there, and so is what it is asked for.
names_what_exists() { # WORDS...
    local path=${1#./} word
    [[ $path =~ ^build/[a-z]+/tests/([a-z-]+)$ ]] && path=tests/${BASH_REMATCH[1]}/${BASH_REMATCH[1]}.c
    [[ -e $HERE/$path ]] || { echo "there is no $path" && return 1; }
    shift
    for word; do
        case $path:$word in
        *:--*) grep -qF -- "$word" "$HERE/$path" ;;
        tests/run:*) grep -qx "run_$word() {.*" "$HERE/$path" ;;
        tests/bench/run:*) grep -qE "^#   $word " "$HERE/$path" ;;
        esac || { echo "$path knows no $word" && return 1; }
    done
}

code_exists() { # FILE
    local words status=0
    while read -ra words; do
        names_what_exists "${words[@]}" || status=1
    done < <(grep -oE '`(\./)?(tests|deploy|controller|probes|fence|build/[a-z]+/tests)/[^`]+`' "$1" | tr -d '`' | sort -u)
    return "$status"
}

# Each promise of the design has its row; what the simulator's table says is not built, the row says too, and no other does.
promises_are_told() { # FILE
    local name row said waits status=0
    for name in S{1..15} L{1..9}; do
        row=$(grep "^| $name | " "$1") && [[ $row != *$'\n'* ]] || { echo "$name has not one row" && status=1 && continue; }
        said='' waits=''
        [[ $row != *'not built'* ]] || said=yes
        ! grep -qE "^rule $name +waiting " "$HERE/tests/sim/armed.txt" || waits=yes
        [[ $said == "$waits" ]] || { echo "$name: the row and tests/sim/armed.txt differ in whether it is built" && status=1; }
    done
    return "$status"
}

differs() { # COMMAND...: it fails
    ! "$@"
}

for page in rules settings commands exit-codes keys guard-rules; do
    check "the page $page is what the programs print" agrees "$page"
done
check "a page that differs is noticed" bash -c "! diff -q '$TMP/doc/rules.md' '$TMP/doc/keys.md'"
for file in README.md deploy/doc/operations.md deploy/doc/guards.md deploy/doc/etcd.md deploy/doc/reliability.md; do
    check "every command that $file names exists" commands_exist "$HERE/$file"
    check "every file and command of the tree that $file names is there" code_exists "$HERE/$file"
    check "every link of $file leads somewhere" links_lead_somewhere "$HERE/$file"
done
page=$HERE/deploy/doc/reliability.md
check "the reliability page has each promise, and says which are not built" promises_are_told "$page"
for wrong in 's|tests/system/23-fence.sh|tests/system/23-fences.sh|' 's|tests/run model|tests/run models|' 's|--calm|--calmly|' \
    's|bench/run footprint|bench/run footprints|'; do
    sed "$wrong" "$page" >"$TMP/wrong.md"
    check "a page that names what is not there is noticed ($wrong)" differs code_exists "$TMP/wrong.md"
done
for wrong in '/^| S7 /d' 's/^| L9 .*/| L9 | A drill yields. | simulator |/'; do
    sed "$wrong" "$page" >"$TMP/wrong.md"
    check "a page with a promise too few, or one too many, is noticed ($wrong)" differs promises_are_told "$TMP/wrong.md"
done
check "the example definition is good" "$BUILD/failoverctl" check "$HERE/deploy/example/cluster.yaml"
finish
