#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Images made by us are read by stock QEMU's tools, and the reverse.
. "$SRC/tests/e2e/lib.sh"
requires "$STOCK_IMG" "$STOCK_IO"

python3 - <<'END'
import random
random.seed(1972)
with open('source.raw', 'wb') as f:
    f.truncate(24 << 20)
    for _ in range(60):
        f.seek(random.randrange(24 << 11) * 512)
        f.write(random.randbytes(random.randrange(1, 200) * 512))
    f.truncate(24 << 20)
END

# both NAME FORMAT OPTION...: each converts, the other checks and compares.
both() {
    name_=$1 format_=$2
    shift 2
    check "ours $name_" "$QEMU_IMG" convert -f raw -O "$format_" "$@" source.raw ours.img
    check "stock's $name_" "$STOCK_IMG" convert -f raw -O "$format_" "$@" source.raw stock.img
    check "stock compares ours $name_" "$STOCK_IMG" compare -f raw -F "$format_" source.raw ours.img
    check "we compare stock's $name_" "$QEMU_IMG" compare -f raw -F "$format_" source.raw stock.img
    if [ "$format_" = qcow2 ]; then
        check "stock checks ours $name_" "$STOCK_IMG" check -f qcow2 ours.img
        check "we check stock's $name_" "$QEMU_IMG" check -f qcow2 stock.img
        is "both check alike $name_" "$("$QEMU_IMG" check -f qcow2 stock.img)" \
            "$("$STOCK_IMG" check -f qcow2 stock.img)"
        # Which parts of clusters are holes is the file system's choice, and only we always tell.
        dd if=ours.img of=dense.img bs=1M conv=sync 2>/dev/null
        mv dense.img ours.img
    fi
    is "both map ours alike $name_" \
        "$("$QEMU_IMG" map -f "$format_" ours.img)" "$("$STOCK_IMG" map -f "$format_" ours.img)"
    rm -f ours.img stock.img
}

both raw raw
both 'raw, full' raw -S 0
both qcow2 qcow2
both 'qcow2, version 2' qcow2 -o compat=0.10
both 'qcow2, small clusters' qcow2 -o cluster_size=4k
both 'qcow2, large clusters' qcow2 -o cluster_size=1M

# ---- overlays
check 'base by stock' "$STOCK_IMG" convert -f raw -O qcow2 source.raw base.qcow2
check 'overlay by us' "$QEMU_IMG" create -q -f qcow2 -b base.qcow2 -F qcow2 ours.qcow2
check 'stock writes into it' "$STOCK_IO" -c 'write -P 5 1M 300k' -c 'write -z 5M 1M' ours.qcow2
check 'overlay by stock' "$STOCK_IMG" create -q -f qcow2 -b base.qcow2 -F qcow2 stock.qcow2
check 'we write into it' "$QEMU_IO" -c 'write -P 5 1M 300k' -c 'write -z 5M 1M' stock.qcow2
check 'stock sees the same in both' "$STOCK_IMG" compare ours.qcow2 stock.qcow2
check 'we see the same in both' "$QEMU_IMG" compare ours.qcow2 stock.qcow2
check 'stock checks what we wrote' "$STOCK_IMG" check stock.qcow2
check 'we check what stock wrote' "$QEMU_IMG" check ours.qcow2
is 'info --backing-chain names the same files' \
    "$("$QEMU_IMG" info --backing-chain stock.qcow2 | grep '^image:\|^backing')" \
    "$("$STOCK_IMG" info --backing-chain stock.qcow2 | grep '^image:\|^backing')"

# ---- locks
# hold PROGRAM OTHER: PROGRAM opens ours.qcow2 for writing; wait until OTHER notices.  OTHER may look
# just when PROGRAM opens and so keep it out; then PROGRAM tries again.
hold() {
    holder=
    for _ in $(seq 1000); do
        if [ -z "$holder" ] || ! kill -0 "$holder" 2>/dev/null; then
            "$1" -c 'sleep 300000' ours.qcow2 >/dev/null 2>&1 &
            holder=$!
        fi
        sleep 0.1
        "$2" info ours.qcow2 >/dev/null 2>&1 || break
    done
}
locked='Failed to get shared "write" lock
Is another process using the image [ours.qcow2]?'
hold "$STOCK_IO" "$QEMU_IMG"
run "$QEMU_IMG" info ours.qcow2
is "stock's lock keeps us out" "$status $(echo "$err" | head -n 2)" \
    "1 qemu-img: Could not open 'ours.qcow2': $locked"
kill "$holder" 2>/dev/null
wait "$holder" 2>/dev/null
hold "$QEMU_IO" "$STOCK_IMG"
fails 'our lock keeps stock out' 1 "qemu-img: Could not open 'ours.qcow2': $locked" \
    "$STOCK_IMG" info ours.qcow2
kill "$holder" 2>/dev/null
wait "$holder" 2>/dev/null
done_testing
