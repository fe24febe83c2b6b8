#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# qemu-img compact: the file gets shorter, the disk and its snapshots stay.
. "$SRC/tests/e2e/lib.sh"

# io COMMAND...: on c.qcow2, quietly.
io() {
    for io_command in "$@"; do
        set -- "$@" -c "$io_command"
        shift
    done
    "$QEMU_IO" -f qcow2 -d unmap "$@" c.qcow2 >/dev/null
}

# verdict PROGRAM: what its check says first.
verdict() {
    "$1" check -f qcow2 c.qcow2 2>&1 | head -n 1
}

# An image of clusters of $1 bytes that was written to, with snapshots if $2, and then discarded from.
make_image() {
    rm -f c.qcow2
    "$QEMU_IMG" create -q -f qcow2 -o "cluster_size=$1" c.qcow2 16M
    for i in 1 2 3; do
        io "write -P $i ${i}M 3M" 'write -P 9 10M 2M'
        [ -z "$2" ] || "$QEMU_IMG" snapshot -c "s$i" c.qcow2
    done
    io 'discard 1M 2M' 'write -P 7 14M 1M'
    [ -z "$2" ] || "$QEMU_IMG" snapshot -d s2 c.qcow2
    io 'discard 1M 1M' 'discard 10M 1M' 'discard 4M 1M'
}

for cluster_size in 512 4096 65536; do
    for snapshots in '' with; do
        what="clusters of $cluster_size${snapshots:+, snapshots}"
        make_image "$cluster_size" "$snapshots"
        before=$(stat -c %s c.qcow2)
        "$QEMU_IMG" convert -f qcow2 -O raw c.qcow2 before.raw
        [ -z "$snapshots" ] || "$QEMU_IMG" convert -f qcow2 -l s1 -O raw c.qcow2 s1.raw
        check "$what: compact" "$QEMU_IMG" compact -f qcow2 c.qcow2
        after=$(stat -c %s c.qcow2)
        is "$what: it says how much" "$out" \
            "Image compacted: the file is $((before - after)) bytes shorter."
        [ "$after" -lt "$((before * 9 / 10))" ]
        ok $? "$what: the file is shorter"
        is "$what: check" "$(verdict "$QEMU_IMG")" 'No errors were found on the image.'
        if [ -x "$STOCK_IMG" ]; then
            is "$what: stock's check" "$(verdict "$STOCK_IMG")" 'No errors were found on the image.'
        else
            skip "$what: stock's check" 'stock qemu-img is not installed'
        fi
        check "$what: the disk is the same" "$QEMU_IMG" compare -f raw -F qcow2 before.raw c.qcow2
        if [ -n "$snapshots" ]; then
            "$QEMU_IMG" convert -f qcow2 -l s1 -O raw c.qcow2 after.raw
            check "$what: so is the snapshot" cmp s1.raw after.raw
        fi
        run "$QEMU_IMG" compact -f qcow2 c.qcow2
        is "$what: nothing is left to gain" "$out" 'Image compacted: the file is 0 bytes shorter.'
    done
done

# ends FILE LIMIT WHAT: compacted, the file is shorter than that, sound, and reads as before.raw.
ends() {
    check "$3: compact" "$QEMU_IMG" compact -q -f qcow2 "$1"
    [ "$(stat -c %s "$1")" -lt "$2" ]
    ok $? "$3: the file is shorter"
    is "$3: check" "$(verdict "$QEMU_IMG")" 'No errors were found on the image.'
    [ ! -x "$STOCK_IMG" ] ||
        is "$3: stock's check" "$(verdict "$STOCK_IMG")" 'No errors were found on the image.'
    check "$3: the disk is the same" "$QEMU_IMG" compare -f raw -F qcow2 before.raw "$1"
}

random_bytes 524288 | od -x | head -c 1M >half.raw
rm -f c.qcow2
"$QEMU_IMG" create -q -f qcow2 -o cluster_size=4k c.qcow2 4M
io 'write -P 1 0 2M'
"$QEMU_IO" -f qcow2 -c "write -q -c -s half.raw 2M 64k" -c "write -q -c -s half.raw 3M 32k" \
    c.qcow2 >/dev/null
"$QEMU_IMG" snapshot -c s1 c.qcow2
io 'write -c -P 6 2056k 4k' 'write -P 8 3076k 4k'
"$QEMU_IMG" snapshot -d s1 c.qcow2
io 'discard 0 1984k'
"$QEMU_IMG" convert -f qcow2 -O raw c.qcow2 before.raw
ends c.qcow2 400000 'compressed clusters at the end'

rm -f c.qcow2
"$QEMU_IMG" create -q -f qcow2 -o cluster_size=4k c.qcow2 16M
io 'write -P 1 0 4M'
"$QEMU_IMG" bitmap --add -g 512 c.qcow2 kept
io 'write -P 2 8M 16k' 'discard 64k 3m'
"$QEMU_IMG" convert -f qcow2 -O raw c.qcow2 before.raw
ends c.qcow2 1300000 'a bitmap at the end'
is 'it is still there' "$("$QEMU_IMG" info -f qcow2 c.qcow2 | grep -c 'name: kept')" 1

# Only single clusters are free, and the bitmap is larger than one.
rm -f c.qcow2
"$QEMU_IMG" create -q -f qcow2 -o cluster_size=4k c.qcow2 1G
io 'write -P 1 0 4M'
"$QEMU_IMG" bitmap --add -g 512 c.qcow2 kept
set --
for i in $(seq 0 63); do
    set -- "$@" "write -z $((i * 16 + 8))M 4k"
done
for i in $(seq 0 2 1022); do
    set -- "$@" "discard $((i * 4))k 4k"
done
io "$@"
"$QEMU_IMG" convert -f qcow2 -O raw -S 4k c.qcow2 before.raw
ends c.qcow2 3200000 'a bitmap at the end, and scattered gaps'

# In use when it was last seen: inconsistent; and the progress is that of the work.
rm -f c.qcow2
"$QEMU_IMG" create -q -f qcow2 -o cluster_size=4k c.qcow2 1G
io 'write -P 1 0 80M'
"$QEMU_IMG" bitmap --add -g 512 c.qcow2 stale
io 'write -P 2 100M 128M' 'discard 0 70M'
"$QEMU_IMG" info -f qcow2 c.qcow2 >/dev/null
mark_in_use() {
    python3 - "$1" <<'PYTHON'
import struct, sys
with open(sys.argv[1], "r+b") as file:
    head = file.read(512)
    at = struct.unpack_from(">I", head, 100)[0]
    while struct.unpack_from(">I", head, at)[0] != 0x23852875:
        at += 8 + (struct.unpack_from(">I", head, at + 4)[0] + 7 & ~7)
    directory = struct.unpack_from(">Q", head, at + 24)[0]
    file.seek(directory + 15)
    file.write(b"\3")
PYTHON
}
mark_in_use c.qcow2
before=$(stat -c %s c.qcow2)
check 'an inconsistent bitmap: compact' "$QEMU_IMG" compact -p -f qcow2 c.qcow2
steps=$(printf '%s' "$out" | tr '\r' '\n' | grep -c '^ *([0-9.]*/100%)')
[ "$steps" -gt 2 ]
ok $? "an inconsistent bitmap: $steps steps of progress are told"
[ "$(stat -c %s c.qcow2)" -lt "$((before - (60 << 20)))" ]
ok $? 'an inconsistent bitmap: the file is shorter'
is 'an inconsistent bitmap: check' "$(verdict "$QEMU_IMG")" 'No errors were found on the image.'
is 'an inconsistent bitmap: it is still there' \
    "$("$QEMU_IMG" info -f qcow2 c.qcow2 | grep -A 4 'in-use' | grep -c 'name: stale')" 1

truncate -s 1M plain.raw
fails 'raw has nothing to compact' 1 \
    "qemu-img: Block driver 'raw' does not support compaction" "$QEMU_IMG" compact -f raw plain.raw
fails 'one file is expected' 1 'qemu-img: Expecting one image file name
Try '"'qemu-img compact --help'"' for more info' "$QEMU_IMG" compact
done_testing
