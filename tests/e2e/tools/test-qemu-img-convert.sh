#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# qemu-img convert and compare: content arrives, holes stay holes, half a target does not stay.
. "$SRC/tests/e2e/lib.sh"

# A source with data, zeroes that are stored, and holes, at offsets that fit no cluster.
python3 - <<'END'
import random
random.seed(2014)
with open('source.raw', 'wb') as f:
    f.truncate(40 << 20)
    for start, length in ((512, 4096), (3 << 20, 5 << 20), (12345 * 512, 512 * 7), (39 << 20, 1 << 20)):
        f.seek(start)
        f.write(random.randbytes(length))
    f.seek(20 << 20)
    f.write(bytes(4 << 20))
END

blocks() {
    stat -c %b "$1"
}

# copy NAME FORMAT OPTION...: convert, compare, and back again.
copy() {
    name_=$1 format_=$2
    shift 2
    check "convert to $format_ $name_" "$QEMU_IMG" convert -f raw -O "$format_" "$@" source.raw target.img
    check "compare with $format_ $name_" "$QEMU_IMG" compare -f raw -F "$format_" source.raw target.img
    check "convert from $format_ $name_" "$QEMU_IMG" convert -f "$format_" -O raw target.img back.raw
    cmp -s source.raw back.raw
    ok $? "what came back from $format_ $name_ is the same"
    if [ "$format_" = qcow2 ]; then
        check "check of $format_ $name_" "$QEMU_IMG" check -f qcow2 target.img
    fi
    rm -f target.img back.raw
}

for format in raw qcow2; do
    copy plainly $format
    copy 'by one worker' $format -m 1
    copy 'out of order by 16' $format -m 16 -W
    copy 'with -S 0' $format -S 0
    copy 'with -S 64k' $format -S 64k
    copy 'past the cache' $format -t none -T none
    copy 'written through' $format -t writethrough
    copy 'by the host' $format -C
    copy 'with --salvage' $format --salvage
    copy 'at a rate' $format -r 200M
done
copy 'with small clusters' qcow2 -o cluster_size=512
copy 'with large clusters' qcow2 -o cluster_size=2M

# ---- the same bytes, however many workers and processors there are
python3 - <<'END'
import random
random.seed(8)
with open('text.raw', 'wb') as f:
    f.truncate(24 << 20)
    for i in range(0, 24, 2):
        f.seek((i << 20) + i * 4096)
        f.write(b''.join(b'%d %d\n' % (j, j * j * i) for j in range(60000)) + random.randbytes(100000))
END
for kind in plain zlib zstd; do
    case $kind in
    plain) how= ;;
    *) how="-c -o compression_type=$kind" ;;
    esac
    # shellcheck disable=SC2086
    run "$QEMU_IMG" convert $how -m 1 -f raw -O qcow2 text.raw one.qcow2
    if [ "$status" -ne 0 ]; then
        skip "$kind by many workers" "$err"
        continue
    fi
    for m in 2 8 16; do
        # shellcheck disable=SC2086
        check "$kind by $m workers" "$QEMU_IMG" convert $how -m $m -f raw -O qcow2 text.raw many.qcow2
        check "$kind by $m workers gives the same file" cmp one.qcow2 many.qcow2
    done
    # shellcheck disable=SC2086
    check "$kind by one processor" taskset 1 "$QEMU_IMG" convert $how -f raw -O qcow2 text.raw many.qcow2
    check "$kind by one processor gives the same file" cmp one.qcow2 many.qcow2
    check "$kind reads back" "$QEMU_IMG" compare -f raw -F qcow2 text.raw many.qcow2
done
rm -f text.raw one.qcow2 many.qcow2

# ---- space
check 'sparse target' "$QEMU_IMG" convert -f raw -O raw source.raw sparse.raw
[ "$(blocks sparse.raw)" -lt 16384 ]
ok $? 'holes and stored zeroes take no space'
check 'full target' "$QEMU_IMG" convert -S 0 -f raw -O raw source.raw full.raw
[ "$(blocks full.raw)" -ge 81920 ]
ok $? 'with -S 0 everything takes space'
check 'into what exists' "$QEMU_IMG" convert -n -f raw -O raw source.raw full.raw
cmp -s source.raw full.raw
ok $? 'old content is overwritten, zeroes included'

# ---- several sources
check 'two sources' "$QEMU_IMG" convert -f raw -O qcow2 source.raw source.raw two.qcow2
check 'back to raw' "$QEMU_IMG" convert -O raw two.qcow2 two.raw
cat source.raw source.raw | cmp -s - two.raw
ok $? 'are one after the other'

# ---- overlay
check 'a base' "$QEMU_IMG" convert -f raw -O qcow2 source.raw base.qcow2
check 'an overlay' "$QEMU_IMG" create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2
if [ -x "$QEMU_IO" ]; then
    check 'data in the overlay' "$QEMU_IO" -c 'write -P 7 8M 1M' -c 'write -z 30M 64k' top.qcow2
fi
check 'a thin copy' "$QEMU_IMG" convert -O qcow2 -B base.qcow2 -F qcow2 top.qcow2 thin.qcow2
check 'has the same content' "$QEMU_IMG" compare top.qcow2 thin.qcow2
[ "$(blocks thin.qcow2)" -lt 4096 ]
ok $? 'and only what the overlay holds'

# ---- compare
cp sparse.raw other.raw
printf y | dd of=other.raw bs=1 seek=30000000 conv=notrunc status=none
run "$QEMU_IMG" compare -f raw -F raw source.raw other.raw
is 'a difference is found' "$status $out" "1 Content mismatch at offset $((30000000 / 512 * 512))!"
run "$QEMU_IMG" compare -q -f raw -F raw other.raw source.raw
is 'quietly, from the other side' "$status $out$err" '1 '
truncate -s 41M sparse.raw
run "$QEMU_IMG" compare -f raw -F raw source.raw sparse.raw
is 'zeroes beyond the end do not matter' "$status" 0
run "$QEMU_IMG" compare -s -f raw -F raw source.raw sparse.raw
is 'unless it is strict' "$status $out" '1 Strict mode: Image size mismatch!'

# ---- failing
broken='json:{"driver":"raw","file":{"driver":"blkdebug","image":{"driver":"file","filename":"source.raw"},"inject-error":[{"event":"none","iotype":"read","sector":10000,"errno":5,"once":false}]}}'
if "$QEMU_IMG" info "$broken" >/dev/null 2>&1; then
    run "$QEMU_IMG" convert -O raw "$broken" new.raw
    is 'a source that cannot be read: status' "$status" 1
    echo "$err" | grep -q '^qemu-img: error while reading at byte [0-9]*: Input/output error$'
    ok $? 'a source that cannot be read: where'
    is 'a source that cannot be read: no target' "$(ls new.raw 2>/dev/null)" ''
    cp source.raw old.raw
    run "$QEMU_IMG" convert -O raw "$broken" old.raw
    is 'a target that was there is no image any more' "$(stat -c %s old.raw)" 0
    run "$QEMU_IMG" convert --salvage -O raw "$broken" new.raw
    is 'with --salvage it goes on' "$status" 0
    echo "$err" | grep -q '^qemu-img: warning: error while reading offset 5120000: Input/output error$'
    ok $? 'with --salvage it tells what is lost'
    run "$QEMU_IMG" compare -f raw -F raw source.raw new.raw
    is 'and only that' "$status $out" '1 Content mismatch at offset 5120000!'
    run "$QEMU_IMG" compare -F raw "$broken" source.raw
    is 'compare of what cannot be read' "$status" 4
    for iotype in read block-status; do
        cat >compare.json <<END
json:{"driver": "raw", "file": {"driver": "blkdebug", "image": "source.raw",
      "inject-error": [{"event": "none", "iotype": "$iotype", "errno": 5, "once": false}]}}
END
        fault=$(tr -d '\n' <compare.json)
        run "$QEMU_IMG" compare -F raw "$fault" source.raw
        ours=$status
        if [ -x "$STOCK_IMG" ]; then
            run "$STOCK_IMG" compare -F raw "$fault" source.raw
            is "compare after a failed $iotype: status as stock's" "$ours" "$status"
        else
            skip "compare after a failed $iotype: status as stock's" 'stock qemu-img is not installed'
        fi
    done
else
    skip 'a source that cannot be read' 'blkdebug is not available'
fi
# A raw image holds nobody off by itself; that it is the source, or below it, is what counts.
cp source.raw self.raw
ln self.raw link.raw
check 'an overlay of it' "$QEMU_IMG" create -q -f qcow2 -b self.raw -F raw over.qcow2
# spared NAME COMMAND...: it fails for the lock, and self.raw is what it was.
spared() {
    name_=$1
    shift
    run "$@"
    case $status$err in
    1*'Failed to get "write" lock'*) ok 0 "$name_ is refused" ;;
    *) ok 1 "$name_ is refused" && note "$status $err" ;;
    esac
    cmp -s source.raw self.raw
    ok $? "$name_ changes nothing"
}
for name in self.raw ./self.raw link.raw; do
    spared "convert of an image onto itself as $name" "$QEMU_IMG" convert -O qcow2 self.raw $name
done
spared 'convert of an image into itself' "$QEMU_IMG" convert -n -f raw -O raw self.raw self.raw
spared 'convert of an overlay onto its base' "$QEMU_IMG" convert -O raw over.qcow2 self.raw
spared 'dd of an image onto itself' "$QEMU_IMG" dd bs=512 count=1 if=self.raw of=self.raw
rm -f self.raw link.raw over.qcow2

mkdir small
if mount -t tmpfs -o size=1M tmpfs small 2>/dev/null; then
    run "$QEMU_IMG" convert -f raw -O raw source.raw small/full.raw
    is 'a full disk: status' "$status" 1
    is 'a full disk: nothing is left' "$(ls small)" ''
    umount small
else
    skip 'a full disk' 'may not mount'
fi
"$QEMU_IMG" convert -r 1M -f raw -O raw source.raw slow.raw 2>/dev/null &
converter=$!
until_true test -s slow.raw
kill -TERM "$converter"
wait "$converter"
is 'an interrupted convert: status' "$?" 1
is 'an interrupted convert: no target' "$(ls slow.raw 2>/dev/null)" ''
done_testing
