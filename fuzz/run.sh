#!/usr/bin/env bash
# Runs fuzz targets for a bounded time each: fuzz/run.sh [SECONDS-PER-TARGET] [TARGET...]
#
# Takes a stable toolchain and a C++ compiler (libFuzzer is built from source), and not cargo-fuzz.
# Starts from the seeds, and from what earlier runs of cargo-fuzz have found. Ends with 1 at the
# first panic, time-out, leak or bus left behind, and says how to see it again.
set -euo pipefail
cd "$(dirname "$0")"

all=(header segment concurrent protocol schema arguments)
seconds="${1:-5}"
[ $# -eq 0 ] || shift
targets=("${@:-${all[@]}}")

# An input is done within milliseconds; one that takes this long hangs.
input_seconds_max=10
# Each target works on a few MiB. What grows beyond this leaks.
memory_mb_max=1024

missing() { printf 'error: %s is missing\nhint: %s\n' "$1" "$2" >&2; exit 2; }
command -v cargo >/dev/null || missing cargo "https://rustup.rs"
command -v c++ >/dev/null || missing "a C++ compiler" "apt-get install g++"
if [[ ! $seconds =~ ^[1-9][0-9]*$ ]]; then
    printf 'error: %s is not a number of seconds\n' "$seconds" >&2
    exit 2
fi

# What `cargo fuzz build -s none` passes, so that both share what is built. All of it is stable.
host="$(rustc -vV | sed -n 's/^host: //p')"
flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
flags+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
flags+=" -Cllvm-args=-sanitizer-coverage-pc-table"
flags+=" -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"
flags+=" -Cllvm-args=-simplifycfg-branch-fold-threshold=0"
flags+=" -Cllvm-args=-sanitizer-coverage-stack-depth -Cdebug-assertions -Ccodegen-units=1"

bins=()
for target in "${targets[@]}"; do
    [ -d "seeds/$target" ] || { printf 'error: no target %s; there are: %s\n' "$target" "${all[*]}" >&2; exit 2; }
    bins+=(--bin "$target")
done
RUSTFLAGS="$flags" cargo build -q --locked --release --config 'profile.release.debug="line-tables-only"' \
    --target "$host" "${bins[@]}"

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

# The buses that a process left. It cannot take them away itself when it dies of a signal.
left_by() { find /dev/shm -maxdepth 1 -name "$(printf 'busway.fuzz-%010d-*' "$1")"; }

for target in "${targets[@]}"; do
    inputs=("$scratch/$target" "seeds/$target")
    [ -d "corpus/$target" ] && inputs+=("corpus/$target")
    mkdir -p "$scratch/$target" "artifacts/$target"
    log="$scratch/$target.log"
    "target/$host/release/$target" -max_total_time="$seconds" -timeout="$input_seconds_max" \
        -rss_limit_mb="$memory_mb_max" -max_len=4096 -artifact_prefix="artifacts/$target/" \
        $([ -f "dictionaries/$target" ] && echo "-dict=dictionaries/$target") \
        "${inputs[@]}" >"$log" 2>&1 &
    pid=$!
    status=0
    wait "$pid" || status=$?
    left="$(left_by "$pid")"
    [ -z "$left" ] || xargs -d '\n' rm -f <<<"$left"
    if [ "$status" -ne 0 ] || [ -n "$left" ]; then
        grep -v '^#' "$log" | tail -n 60
        printf 'error: target %s ended with %s' "$target" "$status"
        [ -z "$left" ] || printf ', left behind:\n%s' "$left"
        printf '\nhint: cargo fuzz run %s -s none fuzz/artifacts/%s/FILE shows it again\n' "$target" "$target"
        exit 1
    fi
    printf '%-10s %s\n' "$target" "$(grep '^Done' "$log" || tail -n 1 "$log")"
done
