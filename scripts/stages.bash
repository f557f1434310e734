# Sourced by the scripts beside it: stages with a name, their wall times, and a rule for tests.

stage_times=()

stage() { # NAME COMMAND...: runs it, and notes its time for `stage_table`
    local name=$1 since=$SECONDS code=0
    shift
    echo "== $name"
    "$@" || code=$?
    stage_times+=("$(printf '%-16s %5d s' "$name" $((SECONDS - since)))")
    if [ "$code" != 0 ]; then
        stage_table
        echo "== $name FAILED"
        exit 1
    fi
}

stage_table() {
    echo "== wall times"
    printf '%s\n' "${stage_times[@]}"
}

# Runs `cargo test` with the arguments. A test that is ignored was not run, and counts as failed.
tests() {
    local log code=0
    log=$(mktemp)
    cargo test --profile ci "$@" 2>&1 | tee "$log" || code=1
    if ! grep -q '^test result: ' "$log"; then
        echo "no test ran"
        code=1
    fi
    if grep -E '^test result: .* [1-9][0-9]* ignored' "$log"; then
        echo "a test was ignored"
        code=1
    fi
    rm -f "$log"
    return $code
}
