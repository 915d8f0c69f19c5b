#!/bin/sh
# Runs every fuzz target for the given number of seconds (10 by default), starting from its seeds:
#   fuzz/run.sh [SECONDS_PER_TARGET [TARGET...]]
# Seeds are commented hex text in corpus/TARGET/*.hex.
# New finds and crashes go to a temporary folder, which is named at the end and kept on a crash only.
set -eu

cd "$(dirname "$0")"
seconds=${1:-10}
[ $# -gt 0 ] && shift
targets=${*:-$(cd src/bin && ls -- *.rs | sed 's/\.rs$//')}

# What cargo-fuzz passes, without the sanitizer that wants a nightly compiler. With --target given,
# the flags do not reach build scripts, nor libFuzzer's own C++.
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="-Cpasses=sancov-module \
  -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares \
  -Ccodegen-units=1 --cfg fuzzing"
cargo build --quiet --release --bins --target "$host"

finds=$(mktemp -d)
failed=
for target in $targets; do
    mkdir -p "$finds/$target" "$finds/$target.seeds"
    for seed in "corpus/$target"/*.hex; do
        sed 's/#.*//' "$seed" | perl -0777 -ne 's/\s//g; print pack "H*", $_' \
            >"$finds/$target.seeds/$(basename "$seed" .hex)"
    done
    printf '%s: ' "$target"
    log=$finds/$target.log
    if "target/$host/release/$target" -max_total_time="$seconds" -max_len=4096 -timeout=5 \
        -print_final_stats=0 -artifact_prefix="$finds/$target-" \
        "$finds/$target" "$finds/$target.seeds" >"$log" 2>&1
    then
        first=$(grep -m1 'INITED' "$log" | sed 's/.*\(cov: [0-9]*\).*/\1/')
        last=$(grep ' cov: ' "$log" | tail -n1 | sed 's/.*\(cov: [0-9]* ft: [0-9]*\).*\(exec\/s: [0-9]*\).*/\1, \2/')
        echo "$first with the seeds, $last at the end"
    else
        failed="$failed $target"
        echo "FAILED"
        tail -n 30 "$log"
    fi
done

if [ -n "$failed" ]; then
    echo "failed:$failed; inputs and logs are in $finds" >&2
    exit 1
fi
rm -rf "$finds"
