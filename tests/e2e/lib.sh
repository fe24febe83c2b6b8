# SPDX-License-Identifier: GPL-2.0-or-later
# TAP for tests written in shell.  A test sources this file first:
#
#   . "$SRC/tests/e2e/lib.sh"
#   check 'an image is made' $QEMU_IMG create -q a.raw 1M
#   run $QEMU_IMG info nosuch
#   is 'status of a missing file' "$status" 1
#   done_testing
#
# $BUILD holds the programs, $SRC is the source folder; the current folder is scratch (tests/run-tests
# makes it; by hand, start in an empty one).

set -u
: "${BUILD:?BUILD must name the build folder}"
: "${SRC:?SRC must name the source folder}"
LC_ALL=C.UTF-8
export LC_ALL

QEMU_IMG=$BUILD/qemu-img
QEMU_IO=$BUILD/qemu-io
STOCK_IMG=/usr/bin/qemu-img
STOCK_IO=/usr/bin/qemu-io

n_cases=0
n_failed=0

# ok STATUS NAME: one case; STATUS 0 is good.
ok() {
    n_cases=$((n_cases + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $n_cases - $2"
    else
        n_failed=$((n_failed + 1))
        echo "not ok $n_cases - $2"
    fi
}

# note TEXT: for people who read why a case failed.
note() {
    printf '%s\n' "$1" | sed 's/^/  # /'
}

# until_true COMMAND...: wait for another program, with patience.
until_true() {
    for lib_turn_ in $(seq 3000); do
        "$@" && return
        sleep 0.1
    done
}

# random_bytes COUNT [PURPOSE]: the same ones for a TEST_SEED; another purpose has others.
random_bytes() {
    python3 "$SRC/tests/lib/seeds.py" "$@"
}

# skip NAME REASON: a case that can not run here.
skip() {
    n_cases=$((n_cases + 1))
    echo "ok $n_cases - $1 # SKIP $2"
}

# skip_all REASON: the whole file can not run here.
skip_all() {
    echo "1..0 # SKIP $1"
    exit 0
}

# requires PROGRAM...: else the whole file is skipped.
requires() {
    for lib_program_ in "$@"; do
        command -v "$lib_program_" >/dev/null 2>&1 || skip_all "needs $lib_program_"
    done
}

# run COMMAND...: sets $status, $out (stdout) and $err (stderr).
run() {
    status=0
    "$@" >run.out 2>run.err </dev/null || status=$?
    out=$(cat run.out)
    err=$(cat run.err)
    rm -f run.out run.err
}

# check NAME COMMAND...: the command succeeds and writes nothing on stderr.
check() {
    lib_name_=$1
    shift
    run "$@"
    if [ "$status" -eq 0 ] && [ -z "$err" ]; then
        ok 0 "$lib_name_"
    else
        ok 1 "$lib_name_"
        note "status $status of: $*"
        note "$out$err"
    fi
}

# is NAME GOT WANTED: two texts are the same.
is() {
    if [ "$2" = "$3" ]; then
        ok 0 "$1"
    else
        ok 1 "$1"
        note "got:    $2"
        note "wanted: $3"
    fi
}

# fails NAME STATUS STDERR COMMAND...: the command ends with that status and says that.
fails() {
    lib_name_=$1 lib_status_=$2 lib_err_=$3
    shift 3
    run "$@"
    if [ "$status" -eq "$lib_status_" ] && [ "$err" = "$lib_err_" ]; then
        ok 0 "$lib_name_"
    else
        ok 1 "$lib_name_"
        note "status $status (wanted $lib_status_) of: $*"
        note "got:    $err"
        note "wanted: $lib_err_"
    fi
}

# done_testing: the plan, and the exit status.
done_testing() {
    echo "1..$n_cases"
    [ "$n_failed" -eq 0 ]
    exit
}
