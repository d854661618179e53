#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Fuzz the C core with libFuzzer and the address, undefined-behaviour and leak sanitizers.
#
#     csrc/fuzz/run.sh [SECONDS]     fuzz, each target so long (default: 20 seconds)
#     csrc/fuzz/run.sh FILE          run one input again, such as one that a finding left: the name
#                                    of its target is the start of its own
#
# Needs clang with libFuzzer, meson and ninja (CC and MESON name others). Everything is built in a
# temporary folder by the project's own meson.build, so every code path has its own flags. On a
# finding the exit status is not 0 and the input is kept in the current folder, under the name that
# is printed last.
set -eu

source=$(cd "$(dirname "$0")/../.." && pwd)
what=${1:-20}
if [ ! -f "$what" ]; then
    case $what in
    '' | 0 | *[!0-9]*)
        echo "usage: run.sh [SECONDS | FILE]" >&2
        exit 2
        ;;
    esac
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if ! {
    CC="${CC:-clang}" "${MESON:-meson}" setup "$work/build" "$source" -Dpython=false \
        -Dbuildtype=debugoptimized -Db_sanitize=address,undefined -Db_lundef=false \
        -Dc_args='-fsanitize=fuzzer-no-link -fno-sanitize-recover=all' &&
        "${MESON:-meson}" compile -C "$work/build" fuzz_codec fuzz_layer
} >"$work/log" 2>&1; then
    cat "$work/log" >&2
    exit 1
fi

if [ -f "$what" ]; then
    case $(basename "$what") in
    fuzz_layer*) "$work/build/csrc/tests/fuzz_layer" "$what" ;;
    *) "$work/build/csrc/tests/fuzz_codec" "$what" ;;
    esac
    exit
fi

mkdir "$work/found"
status=0
run() # TARGET OPTION...
{
    target=$1
    shift
    "$work/build/csrc/tests/$target" -max_total_time="$what" -detect_leaks=1 -timeout=10 \
        -print_final_stats=1 -artifact_prefix="$work/found/$target-" "$@" || status=$?
}
run fuzz_codec -max_len=4096
run fuzz_layer -max_len=64 -len_control=0 # sizes and a seed: short inputs are small layers
for input in "$work/found"/*; do
    [ -f "$input" ] || continue
    name=$(basename "$input")
    cp "$input" "$name"
    echo "kept the input of the finding: $name" >&2
    [ "$status" -ne 0 ] || status=1
done
exit "$status"
