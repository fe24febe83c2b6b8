#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# qemu-img dd: every operand, against dd itself and against stock.
. "$SRC/tests/e2e/lib.sh"

python3 - <<'END'
import random
random.seed(7)
with open('source.raw', 'wb') as f:
    f.write(random.randbytes(1 << 20))
    f.truncate(5 << 20)
    f.seek(3 << 20)
    f.write(random.randbytes(70000))
END
"$QEMU_IMG" convert -f raw -O qcow2 source.raw source.qcow2

# part BS SKIP END: what lies between blocks SKIP and END is copied.
part() {
    dd if=source.raw of=wanted bs="$1" skip="$2" count=$(($3 - $2)) status=none
    check "bs=$1 skip=$2 count=$3" \
        "$QEMU_IMG" dd -f qcow2 -O raw bs="$1" skip="$2" count="$3" if=source.qcow2 of=part.raw
    check "bs=$1 skip=$2 count=$3: content" cmp -n "$(stat -c %s wanted)" wanted part.raw
    run "$QEMU_IMG" dd -f raw -O qcow2 bs="$1" skip="$2" count="$3" if=source.raw of=part.qcow2
    check "bs=$1 skip=$2 count=$3: as qcow2" \
        "$QEMU_IMG" compare -q -f raw -F qcow2 part.raw part.qcow2
}
part 512 0 10
part 512 3 2000
part 4096 100 1280
part 1 5 77
part 1000 17 3333
part 65536 0 80

check 'all of it' "$QEMU_IMG" dd -f qcow2 -O raw if=source.qcow2 of=all.raw
check 'all of it: content' cmp source.raw all.raw
is 'what is empty takes no space' "$(du -k all.raw | cut -f1)" "$(du -k source.raw | cut -f1)"

if [ -x "$STOCK_IMG" ]; then
    for operands in 'count=0' 'skip=1 count=0' 'skip=99999999' 'bs=4k skip=1 count=1' 'bs=7 count=9'; do
        # shellcheck disable=SC2086
        run "$QEMU_IMG" dd -f raw -O raw $operands if=source.raw of=ours.raw
        ours="$status $(stat -c %s ours.raw)"
        # shellcheck disable=SC2086
        run "$STOCK_IMG" dd -f raw -O raw $operands if=source.raw of=stock.raw
        is "stock does the same for $operands" "$ours" "$status $(stat -c %s stock.raw)"
        check "and writes the same for $operands" cmp ours.raw stock.raw
    done
else
    skip 'the same as stock' 'stock qemu-img is not installed'
fi

cat >full.json <<'END'
json:{"driver": "raw", "file": {"driver": "blkdebug", "image": "source.raw",
      "inject-error": [{"event": "read_aio", "errno": 5, "sector": 1024}]}}
END
run "$QEMU_IMG" dd -O raw "if=$(tr -d '\n' <full.json)" of=failed.raw
is 'a read that fails is an error' "$status" 1
[ ! -e failed.raw ]
ok $? 'and leaves no half image'

done_testing
