#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# qemu-img: usage, create, info, check, map, bench.
. "$SRC/tests/e2e/lib.sh"

# ---- usage
run "$QEMU_IMG" --help
is '--help succeeds' "$status" 0
for command in bench check compare convert create info map resize; do
    echo "$out" | grep -q "^  $command "
    ok $? "--help lists $command"
    run_help=$("$QEMU_IMG" "$command" --help)
    echo "$run_help" | grep -q "^Usage: qemu-img $command "
    ok $? "$command --help shows its usage"
done
for program in "$QEMU_IMG info" "$QEMU_IO"; do
    run $program --object help
    is "$program --object help" "$status $(echo "$out" | grep -cx '  secret')" '0 1'
    run $program --object secret,help
    is "$program --object secret,help" "$status $(echo "$out" | grep -c '^  data=')" '0 1'
done
"$QEMU_IMG" --help | grep -Eq '\binfo\b.*-U\b'
ok $? '--help says on one line that info has -U, as other programs look for'
"$QEMU_IMG" --help | grep -q '^Supported formats:.* raw'
ok $? '--help lists formats'
fails 'output that cannot be written is an error' 1 \
    'qemu-img: Could not write to standard output: No space left on device' \
    sh -c '"$0" --version >/dev/full; "$0" info --output=json null-co:// >/dev/full' "$QEMU_IMG"

# ---- create, info
check 'an image is made' "$QEMU_IMG" create -f raw a.raw 3M
is 'create says what it makes' "$out" "Formatting 'a.raw', fmt=raw size=3145728"
is 'it has its size' "$(stat -c %s a.raw)" 3145728
check 'info as JSON' "$QEMU_IMG" info -f raw --output=json a.raw
echo "$out" | python3 -c 'import json, sys
info = json.load(sys.stdin)
assert info["virtual-size"] == 3145728 and info["format"] == "raw", info
assert info["children"][0]["info"]["format"] == "file", info'
ok $? 'the JSON has what it should'
check 'info --limits' "$QEMU_IMG" info --limits -f raw a.raw
echo "$out" | grep -q 'request alignment:'
ok $? 'info --limits tells limits'
fails 'a name with an option is taken apart' 1 \
    "qemu-img: Could not open 'json:{\"driver\":\"raw\"}': A block device must be specified for \"file\"" \
    "$QEMU_IMG" info 'json:{"driver":"raw"}'
check 'create over what is there' "$QEMU_IMG" create -q -f raw a.raw 1M
is 'the new size counts' "$(stat -c %s a.raw)" 1048576

# ---- check
fails 'raw has no check' 63 'qemu-img: This image format does not support checks' \
    "$QEMU_IMG" check -f raw a.raw
check 'a qcow2 image is made' "$QEMU_IMG" create -q -f qcow2 b.qcow2 8M
check 'it is clean' "$QEMU_IMG" check b.qcow2
check 'check -r of a clean image succeeds' "$QEMU_IMG" check -r all b.qcow2

# ---- map
truncate -s 1M m.raw
printf x | dd of=m.raw bs=1 seek=524288 conv=notrunc status=none
check 'map as JSON' "$QEMU_IMG" map -f raw --output=json m.raw
echo "$out" | python3 -c 'import json, sys
rows = json.load(sys.stdin)
assert sum(r["length"] for r in rows) == 1048576
at = 0
for r in rows:
    assert r["start"] == at
    at += r["length"]
assert [r["data"] for r in rows] == [False, True, False], rows
assert all(r["data"] != r["zero"] for r in rows)'
ok $? 'it covers the image, data in the middle'
check 'map of nothing' "$QEMU_IMG" map -f raw --output=json -s 2M m.raw
is 'is a row of length 0' "$out" \
    '[{ "start": 2097152, "length": 0, "depth": 0, "present": false, "zero": false, "data": false, "compressed": false}]'

# ---- resize
check 'resize by more' "$QEMU_IMG" resize -q -f raw m.raw +1M
is 'more' "$(stat -c %s m.raw)" 2097152
run "$QEMU_IMG" resize -q -f raw m.raw -1M
is 'shrinking without --shrink: status' "$status" 1
is 'shrinking without --shrink: nothing' "$(stat -c %s m.raw)" 2097152
check 'resize by less' "$QEMU_IMG" resize -q --shrink -f raw m.raw -1M
is 'less' "$(stat -c %s m.raw)" 1048576

# ---- bench
check 'bench reads' "$QEMU_IMG" bench -q -c 100 -f raw m.raw
check 'bench writes and flushes' "$QEMU_IMG" bench -q -w -c 100 -d 7 --flush-interval=10 \
    --pattern=90 -f raw m.raw
is 'the pattern is written' "$(head -c 409600 m.raw | tr -d Z | wc -c)" 0
check 'bench does not drain if told so' "$QEMU_IMG" bench -q -w -c 100 -d 4 --flush-interval=3 \
    --no-drain -f raw m.raw
fails 'a request larger than the image is refused' 1 \
    'qemu-img: A request of 2097152 bytes at offset 0 does not fit into the image of 1048576 bytes' \
    "$QEMU_IMG" bench -s 2M -f raw m.raw
for words in '-n -i threads' '-i threads -n'; do
    fails "bench $words does not know which" 1 \
        'qemu-img: --native and --aio=threads contradict each other' \
        "$QEMU_IMG" bench $words -t none -f raw m.raw
done

# ---- standard streams
# What was closed is nobody's: no file that is opened gets what is printed.
closed() {
    run sh -c 'exec <&- >&-; exec "$@"' sh "$@"
    is "no stdin, no stdout: ${2#-c }" "$status $err" '0 '
}
closed "$QEMU_IMG" info b.qcow2
closed "$QEMU_IMG" check b.qcow2
closed "$QEMU_IMG" resize b.qcow2 9M
closed "$QEMU_IO" -c 'write 0 64k' b.qcow2
check 'the image is as it was left' "$QEMU_IMG" check b.qcow2
for what in 'create new.raw 1M' 'info new.raw' 'map new.raw' 'check b.qcow2' 'snapshot -l b.qcow2'; do
    # shellcheck disable=SC2086
    run sh -c 'exec "$@" >/dev/full' sh "$QEMU_IMG" $what
    case $what in
    snapshot*) is "a full stdout: $what, which prints nothing" "$status $err" '0 ' ;;
    *) is "a full stdout: $what" "$status ${err%%:*}" '1 qemu-img' ;;
    esac
done
done_testing
