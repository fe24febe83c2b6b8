#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Dirty bitmaps that images keep: ours are read by stock QEMU's tools, and the reverse.
. "$SRC/tests/e2e/lib.sh"
requires "$STOCK_IMG" "$STOCK_IO" qemu-nbd

# dirty FILE BITMAP: what is dirty, as stock sees it: START+LENGTH ...
dirty() {
    rm -f socket
    qemu-nbd -r -k "$PWD/socket" -B "$2" -f qcow2 "$1" &
    until_true test -S socket
    "$STOCK_IMG" map --output=json --image-opts \
        "driver=nbd,server.type=unix,server.path=$PWD/socket,x-dirty-bitmap=qemu:dirty-bitmap:$2" |
        python3 -c 'import json, sys
print(*("%d+%d" % (e["start"], e["length"]) for e in json.load(sys.stdin) if not e["data"]))'
    wait
}

# refuses NAME TEXT COMMAND...: it fails, and says that among other things.
refuses() {
    name_=$1 text_=$2
    shift 2
    run "$@"
    case "$status $err" in
    "1 "*"$text_"*) ok 0 "$name_" ;;
    *) ok 1 "$name_"; note "status $status: $err" ;;
    esac
}

K=1024
check 'create' "$QEMU_IMG" create -q -f qcow2 ours.qcow2 4M
check 'we add a bitmap' "$QEMU_IMG" bitmap --add -g 4k ours.qcow2 b
check 'we write' "$QEMU_IO" -c 'write -P 1 64k 8k' -c 'write -P 2 1M 4k' ours.qcow2
is 'stock sees what we wrote' "$(dirty ours.qcow2 b)" "$((64 * K))+$((8 * K)) $((K * K))+$((4 * K))"
check 'stock writes' "$STOCK_IO" -c 'write -P 3 2M 4k' ours.qcow2
check 'we write again' "$QEMU_IO" -c 'discard 3M 64k' ours.qcow2
is 'all is recorded' "$(dirty ours.qcow2 b)" \
    "$((64 * K))+$((8 * K)) $((K * K))+$((4 * K)) $((2 * K * K))+$((4 * K)) $((3 * K * K))+$((64 * K))"
check 'stock checks it' "$STOCK_IMG" check -q ours.qcow2
check 'we check it' "$QEMU_IMG" check -q ours.qcow2

check 'create by stock' "$STOCK_IMG" create -q -f qcow2 stock.qcow2 4M
check 'stock adds a bitmap' "$STOCK_IMG" bitmap --add -g 64k stock.qcow2 b
check 'stock writes into it' "$STOCK_IO" -c 'write -P 1 0 64k' -c 'write -P 1 3M 1M' stock.qcow2
check 'we copy it' "$QEMU_IMG" convert --bitmaps -O qcow2 stock.qcow2 copy.qcow2
is 'the copy has its bits' "$(dirty copy.qcow2 b)" "0+$((64 * K)) $((3 * K * K))+$((K * K))"
check 'we merge from one to another' \
    "$QEMU_IMG" bitmap --merge b -b stock.qcow2 -F qcow2 --disable ours.qcow2 b
is 'the union' "$(dirty ours.qcow2 b)" \
    "0+$((72 * K)) $((K * K))+$((4 * K)) $((2 * K * K))+$((4 * K)) $((3 * K * K))+$((K * K))"
check 'we clear' "$QEMU_IMG" bitmap --clear --enable ours.qcow2 b
is 'nothing is dirty' "$(dirty ours.qcow2 b)" ''
check 'we resize' "$QEMU_IMG" resize -q ours.qcow2 8M
check 'stock resizes' "$STOCK_IMG" resize -q ours.qcow2 16M
check 'we remove' "$QEMU_IMG" bitmap --remove-all ours.qcow2
is 'no bitmap is left' "$("$STOCK_IMG" info ours.qcow2 | grep -c bitmaps)" 0
check 'nothing leaked' "$STOCK_IMG" check -q ours.qcow2

# ---- a writer that was killed
check 'add again' "$QEMU_IMG" bitmap --add ours.qcow2 b
"$QEMU_IO" -c 'write 0 4k' -c flush -c abort ours.qcow2 >/dev/null 2>&1
refuses 'stock refuses it' 'is inconsistent and cannot be used' \
    "$STOCK_IMG" bitmap --clear ours.qcow2 b
refuses 'we refuse it' 'is inconsistent and cannot be used' "$QEMU_IMG" bitmap --clear ours.qcow2 b
refuses 'it is not copied' "Cannot copy inconsistent bitmap 'b'" \
    "$QEMU_IMG" convert --bitmaps -O qcow2 ours.qcow2 copy2.qcow2
fails 'it may be left out' 0 "qemu-img: warning: Skipping inconsistent bitmap 'b'" \
    "$QEMU_IMG" convert --bitmaps --skip-broken-bitmaps -O qcow2 ours.qcow2 copy2.qcow2
check 'stock removes it' "$STOCK_IMG" bitmap --remove ours.qcow2 b
check 'we see none' "$QEMU_IMG" check -q ours.qcow2
done_testing
