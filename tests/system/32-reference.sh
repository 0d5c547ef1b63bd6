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

for page in rules settings commands exit-codes keys guard-rules; do
    check "the page $page is what the programs print" agrees "$page"
done
check "a page that differs is noticed" bash -c "! diff -q '$TMP/doc/rules.md' '$TMP/doc/keys.md'"
for file in README.md deploy/doc/operations.md deploy/doc/guards.md deploy/doc/etcd.md; do
    check "every command that $file names exists" commands_exist "$HERE/$file"
    check "every link of $file leads somewhere" links_lead_somewhere "$HERE/$file"
done
check "the example definition is good" "$BUILD/failoverctl" check "$HERE/deploy/example/cluster.yaml"
finish
