#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Amended images: stock's tools find them sound, and the same as before.
. "$SRC/tests/e2e/lib.sh"
requires "$STOCK_IMG" "$STOCK_IO"

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

# same NAME FILE: it still holds what it held, and its snapshots too.
same() {
    check "$1: same" "$STOCK_IMG" compare -q "$2" want.raw
    for snapshot_ in $("$STOCK_IMG" snapshot -l "$2" | awk 'NR > 2 { print $2 }'); do
        check "$1: same in $snapshot_" "$STOCK_IMG" convert -l "$snapshot_" -O raw "$2" now.raw
        check "$1: and read alike" cmp "want-$snapshot_.raw" now.raw
    done
    check "$1: stock checks it" "$STOCK_IMG" check -q "$2"
    check "$1: we check it" "$QEMU_IMG" check -q "$2"
}

# keep FILE: what it holds now is what it shall hold.
keep() {
    "$STOCK_IMG" convert -O raw "$1" want.raw
    for snapshot_ in $("$STOCK_IMG" snapshot -l "$1" | awk 'NR > 2 { print $2 }'); do
        "$STOCK_IMG" convert -l "$snapshot_" -O raw "$1" "want-$snapshot_.raw"
    done
}

field() {
    "$STOCK_IMG" info "$1" | sed -n "s/^ *$2: //p"
}

WRITES='-c "write -P 1 0 4M" -c "write -z 256k 256k" -c "write -zu 1M 512k" -c "write -P 2 6M 100k"'

# ---- widths
for size in 512 4k 64k 2M; do
    "$STOCK_IMG" create -q -f qcow2 -o "cluster_size=$size" a.qcow2 16M
    eval "$STOCK_IO" $WRITES a.qcow2 >/dev/null
    "$STOCK_IMG" snapshot -c one a.qcow2
    "$STOCK_IO" -c 'write -P 3 2M 1M' a.qcow2 >/dev/null
    keep a.qcow2
    for bits in 64 2 32 8 16; do
        check "$size: $bits bits" "$QEMU_IMG" amend -o "refcount_bits=$bits" a.qcow2
        is "$size: stock sees $bits bits" "$(field a.qcow2 'refcount bits')" "$bits"
    done
    same "$size" a.qcow2
    refuses "$size: one bit is too few" 'Cannot decrease refcount entry width to 1 bits' \
        "$QEMU_IMG" amend -o refcount_bits=1 a.qcow2
    check "$size: stock writes" "$STOCK_IO" -c 'write -q -P 9 9M 1M' a.qcow2
    check "$size: sound" "$STOCK_IMG" check -q a.qcow2
done

# ---- versions, with snapshots that share zero clusters
for backing in '' '-b base.qcow2 -F qcow2'; do
    "$STOCK_IMG" create -q -f qcow2 base.qcow2 16M
    "$STOCK_IO" -c 'write -P 7 0 16M' base.qcow2 >/dev/null
    "$STOCK_IMG" create -q -f qcow2 $backing b.qcow2 16M
    eval "$STOCK_IO" $WRITES b.qcow2 >/dev/null
    "$STOCK_IMG" snapshot -c one b.qcow2
    "$STOCK_IO" -c 'write -P 4 300k 64k' -c 'write -z 8M 1M' b.qcow2 >/dev/null
    "$STOCK_IMG" snapshot -c two b.qcow2
    "$STOCK_IO" -c 'write -P 5 8M 64k' b.qcow2 >/dev/null
    keep b.qcow2
    check "down over '$backing'" "$QEMU_IMG" amend -o compat=0.10 b.qcow2
    is 'it is version 2' "$(field b.qcow2 compat)" 0.10
    same "version 2 over '$backing'" b.qcow2
    check "up over '$backing'" "$QEMU_IMG" amend -o compat=1.1,lazy_refcounts=on b.qcow2
    is 'it is version 3' "$(field b.qcow2 compat)" 1.1
    is 'it may be lazy' "$(field b.qcow2 'lazy refcounts')" true
    same "version 3 over '$backing'" b.qcow2
done

# ---- what is lost only on request
"$QEMU_IMG" create -q -f qcow2 c.qcow2 4M
"$QEMU_IMG" bitmap --add c.qcow2 b
refuses 'bitmaps are kept' 'Cannot downgrade an image that keeps bitmaps' \
    "$QEMU_IMG" amend -o compat=0.10 c.qcow2
check 'they go by force' "$QEMU_IMG" amend --force -o compat=0.10 c.qcow2
check 'nothing leaked' "$STOCK_IMG" check -q c.qcow2
check 'a new size' "$QEMU_IMG" amend -o size=8M c.qcow2
is 'stock sees it' "$(field c.qcow2 'virtual size')" '8 MiB (8388608 bytes)'
"$STOCK_IMG" create -q -f qcow2 -o compression_type=zstd z.qcow2 1M
refuses 'zstd stays' 'Cannot downgrade an image with incompatible features 0x8 set' \
    "$QEMU_IMG" amend -o compat=0.10 z.qcow2
"$STOCK_IMG" create -q -f qcow2 -o data_file=old.raw d.qcow2 1M
"$STOCK_IO" -c 'write -P 6 0 64k' d.qcow2 >/dev/null
check 'another name of the data file' "$QEMU_IMG" amend -o data_file=new.raw d.qcow2
is 'stock sees the name' "$(mv old.raw new.raw; field d.qcow2 'data file')" new.raw
check 'stock reads it' "$STOCK_IO" -c 'read -q -P 6 0 64k' d.qcow2
refuses 'no way down from there' 'Cannot downgrade an image with a data file' \
    "$QEMU_IMG" amend -o compat=0.10 d.qcow2
done_testing
