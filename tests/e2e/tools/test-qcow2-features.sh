#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Features of qcow2 one by one: what we make stock's tools read and change, and the reverse.
. "$SRC/tests/e2e/lib.sh"
requires "$STOCK_IMG" "$STOCK_IO"

random_bytes 3145728 >source.raw
head -c 5M /dev/zero >>source.raw

# io_of WHO, img_of WHO: the program of us or of stock.
io_of() {
    if [ "$1" = stock ]; then echo "$STOCK_IO"; else echo "$QEMU_IO"; fi
}
img_of() {
    if [ "$1" = stock ]; then echo "$STOCK_IMG"; else echo "$QEMU_IMG"; fi
}

# sound NAME FILE [WANT]: both find no fault, and the content of WANT.
sound() {
    check "$1: stock checks it" "$STOCK_IMG" check -q -f qcow2 "$2"
    check "$1: we check it" "$QEMU_IMG" check -q -f qcow2 "$2"
    check "$1: stock reads it" "$STOCK_IMG" compare -q -F qcow2 -f raw "${3:-source.raw}" "$2"
    check "$1: we read it" "$QEMU_IMG" compare -q -F qcow2 -f raw "${3:-source.raw}" "$2"
}

# ---- lazy refcounts: killed before they were written
for who in ours stock; do
    "$STOCK_IMG" create -q -f qcow2 -o lazy_refcounts=on lazy.qcow2 8M
    "$STOCK_IO" -f qcow2 -c 'write -P 1 0 1M' -c 'write -P 2 4M 1M' -c flush -c 'sigraise 9' \
        lazy.qcow2 >/dev/null 2>&1
    run "$(io_of $who)" -f qcow2 -c 'write -q -P 3 2M 64k' lazy.qcow2
    is "lazy, then $who: opened for writing" "$status" 0
    check "lazy, then $who: nothing is lost" "$QEMU_IO" -r -f qcow2 -c 'read -q -P 1 0 1M' \
        -c 'read -q -P 2 4M 1M' -c 'read -q -P 3 2M 64k' lazy.qcow2
    check "lazy, then $who: stock checks it" "$STOCK_IMG" check -q lazy.qcow2
    check "lazy, then $who: we check it" "$QEMU_IMG" check -q lazy.qcow2
done

# ---- resize, with each kind of preallocation
for mode in off metadata falloc full; do
    for who in ours stock; do
        "$QEMU_IMG" convert -f raw -O qcow2 -o cluster_size=4k source.raw r.qcow2
        cp source.raw want.raw
        truncate -s 13M want.raw
        check "$who resizes with $mode" "$(img_of $who)" resize -q -f qcow2 --preallocation="$mode" r.qcow2 13M
        sound "$who, $mode" r.qcow2 want.raw
    done
done

# ---- what nobody knows stays: extensions of the header, whatever rewrites it
"$STOCK_IMG" create -q -f qcow2 e.qcow2 8M
"$STOCK_IMG" convert -n -f raw -O qcow2 source.raw e.qcow2
python3 - e.qcow2 <<'EOF'
import struct, sys
with open(sys.argv[1], "r+b") as image:
    header = image.read(65536)
    at = struct.unpack(">I", header[100:104])[0]
    rest = header[at:header.index(bytes(16), at) + 16]
    image.seek(at)
    image.write(struct.pack(">II", 0x12345678, 5) + b"hello\0\0\0" + rest)
EOF
known() {
    head -c 600 e.qcow2 | grep -c hello
}
is 'an extension of nobody' "$(known)" 1
for step in 'amend -o lazy_refcounts=on' 'rebase -u -f qcow2 -b source.raw -F raw' 'rebase -u -f qcow2 -b ""' \
    'snapshot -c one' 'bitmap --add' 'amend -o refcount_bits=32' 'snapshot -d one' 'compact -q' 'check -q -r all'; do
    case $step in
    bitmap*) eval "\"$QEMU_IMG\" $step e.qcow2 b" ;;
    *) eval "\"$QEMU_IMG\" $step e.qcow2" ;;
    esac
    is "after $step it is there" "$(known)" 1
done
sound 'with the extension' e.qcow2

# ---- options of opening: overlap checks, sizes of caches
for option in overlap-check=none overlap-check=constant overlap-check=cached overlap-check=all \
    overlap-check.template=all,overlap-check.snapshot-table=off l2-cache-size=64k,refcount-cache-size=1M \
    cache-size=1M l2-cache-size=1M,l2-cache-entry-size=4k cache-clean-interval=1 lazy-refcounts=on; do
    for pair in 'ours stock' 'stock ours'; do
        writer=${pair%% *} reader=${pair#* }
        "$QEMU_IMG" create -q -f qcow2 o.qcow2 64M
        check "$writer with $option writes" "$(io_of "$writer")" -c 'write -q -P 7 1M 3M' \
            -c 'write -q -z 2M 64k' -c 'discard -q 3M 64k' \
            --image-opts "driver=qcow2,$option,file.filename=o.qcow2"
        check "$reader with $option reads" "$(io_of "$reader")" -r -c 'read -q -P 7 1M 1M' \
            -c 'read -q -P 0 2M 64k' -c 'read -q -P 0 3M 64k' \
            --image-opts "driver=qcow2,$option,file.filename=o.qcow2"
        check "$writer with $option: sound" "$STOCK_IMG" check -q o.qcow2
    done
done

# ---- discards that keep the clusters
"$QEMU_IMG" convert -f raw -O qcow2 source.raw d.qcow2
"$QEMU_IO" -d unmap -c 'discard -q 1M 512k' \
    --image-opts driver=qcow2,discard-no-unref=on,file.filename=d.qcow2
cp source.raw want.raw
dd if=/dev/zero of=want.raw bs=64k seek=16 count=8 conv=notrunc status=none
sound 'discard-no-unref' d.qcow2 want.raw

# ---- snapshots of disks of other sizes, in turn
"$QEMU_IMG" convert -f raw -O qcow2 source.raw s.qcow2
"$QEMU_IMG" snapshot -c small s.qcow2
"$STOCK_IMG" resize -q -f qcow2 s.qcow2 20M
"$STOCK_IO" -f qcow2 -c 'write -q -P 9 15M 1M' s.qcow2
"$STOCK_IMG" snapshot -c large s.qcow2
check 'we go back to the small disk' "$QEMU_IMG" snapshot -a small s.qcow2
sound 'small' s.qcow2
check 'stock goes to the large one' "$STOCK_IMG" snapshot -a large s.qcow2
check 'we read what is only there' "$QEMU_IO" -r -f qcow2 -c 'read -q -P 9 15M 1M' s.qcow2
check 'we go to it' "$QEMU_IMG" snapshot -a large s.qcow2
check 'we delete the small one' "$QEMU_IMG" snapshot -d small s.qcow2
check 'stock checks it' "$STOCK_IMG" check -q s.qcow2

# ---- versions down and up
"$STOCK_IMG" convert -f raw -O qcow2 -o compat=v2 source.raw v.qcow2
check 'v2 of stock: up' "$QEMU_IMG" amend -o compat=v3 v.qcow2
sound 'up' v.qcow2
check 'and down' "$QEMU_IMG" amend -o compat=v2 v.qcow2
sound 'down' v.qcow2
check 'stock: up again' "$STOCK_IMG" amend -o compat=v3 v.qcow2
sound 'up again' v.qcow2
done_testing
