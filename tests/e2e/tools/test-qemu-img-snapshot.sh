#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Internal snapshots that we and stock QEMU's tools make, apply and delete in turn in one image.
. "$SRC/tests/e2e/lib.sh"
requires "$STOCK_IMG" "$STOCK_IO"

holds() {
    check "$1 reads $3" "$1" -r -f qcow2 -c "read -q -P $3 0 64k" -c "read -q -P $3 1M 64k" "$2"
}

# turns NAME OPTION...: each step by one, checked by the other.
turns() {
    name_=$1
    shift
    rm -f t.qcow2
    check "create $name_" "$QEMU_IMG" create -q -f qcow2 "$@" t.qcow2 4M
    value=0
    for who in ours stock ours stock; do
        value=$((value + 1))
        io=$QEMU_IO img=$QEMU_IMG other_io=$STOCK_IO other_img=$STOCK_IMG
        if [ $who = stock ]; then
            io=$STOCK_IO img=$STOCK_IMG other_io=$QEMU_IO other_img=$QEMU_IMG
        fi
        check "$name_: $who writes $value" "$io" -f qcow2 -c "write -q -P $value 0 64k" \
            -c "write -q -P $value 1M 64k" -c "write -q -b -P $value 0 64k" t.qcow2
        check "$name_: $who makes $value" "$img" snapshot -c "s$value" t.qcow2
        check "$name_: the other checks $value" "$other_img" check -f qcow2 t.qcow2
        holds "$other_io" t.qcow2 $value
    done
    is "$name_: both list the same" "$("$QEMU_IMG" snapshot -l t.qcow2 | awk 'NR > 2 {print $1, $2}')" \
        "$("$STOCK_IMG" snapshot -l t.qcow2 | awk 'NR > 2 {print $1, $2}')"
    check "$name_: we apply stock's" "$QEMU_IMG" snapshot -a s2 t.qcow2
    holds "$STOCK_IO" t.qcow2 2
    check "$name_: VM state comes with it" "$STOCK_IO" -r -f qcow2 -c 'read -q -b -P 2 0 64k' t.qcow2
    check "$name_: stock applies ours" "$STOCK_IMG" snapshot -a s3 t.qcow2
    holds "$QEMU_IO" t.qcow2 3
    check "$name_: VM state comes with ours" "$QEMU_IO" -r -f qcow2 -c 'read -q -b -P 3 0 64k' t.qcow2
    check "$name_: we read stock's" "$QEMU_IMG" convert -l s4 -O raw t.qcow2 t.raw
    check "$name_: it holds 4" "$QEMU_IO" -r -f raw -c 'read -q -P 4 0 64k' t.raw
    check "$name_: we delete stock's" "$QEMU_IMG" snapshot -d s2 t.qcow2
    check "$name_: stock checks that" "$STOCK_IMG" check -f qcow2 t.qcow2
    check "$name_: stock deletes ours" "$STOCK_IMG" snapshot -d s1 t.qcow2
    check "$name_: we check that" "$QEMU_IMG" check -f qcow2 t.qcow2
    check "$name_: we delete the rest" "$QEMU_IMG" snapshot -d s3 t.qcow2
    check "$name_: all of it" "$QEMU_IMG" snapshot -d s4 t.qcow2
    check "$name_: nothing is leaked" "$STOCK_IMG" check -f qcow2 t.qcow2
    holds "$STOCK_IO" t.qcow2 3
}

"$QEMU_IMG" create -q -f qcow2 vm.qcow2 1M
"$QEMU_IO" -f qcow2 -c 'write -q -b -P 3 0 64k' vm.qcow2
check 'a shrink drops the VM state' "$QEMU_IMG" resize -q --shrink -f qcow2 vm.qcow2 512k
check 'wholly' "$QEMU_IMG" check -q -f qcow2 vm.qcow2

turns 'version 3'
turns 'version 2' -o compat=0.10
turns 'small clusters' -o cluster_size=512,refcount_bits=64
turns 'narrow refcounts' -o cluster_size=4k,refcount_bits=4
done_testing
