#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The same steps give the same bytes, at another time, too.
. "$SRC/tests/e2e/lib.sh"

random_bytes 300000 >source.raw
head -c 2M /dev/zero >>source.raw

# steps OPTION...: all that changes the image t.qcow2, made with these options.
steps() {
    rm -f t.qcow2
    "$QEMU_IMG" create -q -f qcow2 -o "$1" t.qcow2 4M
    "$QEMU_IO" -f qcow2 -d unmap -c 'write -q -P 1 100k 300k' -c 'write -q -c -P 2 1M 64k' \
        -c 'write -q -z 2M 100k' -c 'discard 128k 128k' t.qcow2 >/dev/null
    "$QEMU_IMG" snapshot -c one --reproducible t.qcow2
    "$QEMU_IO" -f qcow2 -c 'write -q -P 3 0 1M' t.qcow2
    "$QEMU_IMG" snapshot -c two --reproducible t.qcow2
    "$QEMU_IMG" snapshot -a one t.qcow2
    "$QEMU_IMG" snapshot -d two t.qcow2
    if [ "$2" != v2 ]; then
        "$QEMU_IMG" bitmap --add t.qcow2 bitmap
        "$QEMU_IMG" amend -o refcount_bits=32 t.qcow2
        "$QEMU_IMG" resize -q -f qcow2 t.qcow2 5M
    fi
    "$QEMU_IO" -f qcow2 -c 'write -q -P 4 3M 20k' t.qcow2
    "$QEMU_IMG" compact -q t.qcow2
    "$QEMU_IMG" check -q -r all t.qcow2 >/dev/null 2>&1
    sha256sum <t.qcow2
}

for options in cluster_size=64k cluster_size=512 extended_l2=on,cluster_size=16k; do
    is "made, written, amended with $options: the same bytes" "$(steps "$options")" "$(steps "$options")"
done
is 'version 2: the same bytes' "$(steps compat=v2 v2 2>&1)" "$(steps compat=v2 v2 2>&1)"
is 'a snapshot of no time' "$("$QEMU_IMG" info --output=json t.qcow2 | grep -c '"date-sec": 0')" 1

# made FORMAT-OPTIONS...: of a conversion.
made() {
    "$QEMU_IMG" convert "$@" source.raw o.qcow2
    sha256sum <o.qcow2
}

for how in '-O qcow2' '-O qcow2 -c -m 8' '-O qcow2 -m 16 -o cluster_size=4k' \
    '-O qcow2 -c -o compression_type=zstd' '-O qcow2 -o preallocation=metadata'; do
    # shellcheck disable=SC2086
    is "convert $how: the same bytes" "$(made $how)" "$(made $how)"
done

# Whatever the number of workers, also where a write takes clusters in several steps.
random_bytes 9000001 >source.raw
head -c 2M /dev/zero >>source.raw
random_bytes 3145728 more >>source.raw
for how in '-o cluster_size=4k' '-o cluster_size=512' '-o extended_l2=on' '-c -o cluster_size=4k'; do
    # shellcheck disable=SC2086
    for workers in 8 16 8; do
        is "convert $how: $workers workers, the same bytes" "$(made -O qcow2 -m $workers $how)" \
            "$(made -O qcow2 -m 1 $how)"
    done
done

# rebased: of an overlay that takes over what its old backing file has.
rebased() {
    "$QEMU_IMG" create -q -f qcow2 -o cluster_size=512 -b source.raw -F raw o.qcow2
    "$QEMU_IO" -f qcow2 -c 'write -q -P 3 1M 100k' o.qcow2
    "$QEMU_IMG" rebase -q -b '' o.qcow2
    sha256sum <o.qcow2
}
first=$(rebased)
for again in 1 2 3; do
    is "rebase, $again: the same bytes" "$(rebased)" "$first"
done

# committed CLUSTER: of a base that takes over what an overlay has, zeroes too.
committed() {
    "$QEMU_IMG" create -q -f qcow2 -o "cluster_size=$1" b.qcow2 16M
    "$QEMU_IO" -f qcow2 -c 'write -q -P 5 2M 3M' b.qcow2
    "$QEMU_IMG" create -q -f qcow2 -b b.qcow2 -F qcow2 o.qcow2
    "$QEMU_IO" -f qcow2 -c "write -q -s source.raw 0 14000000" -c 'write -q -z 3M 1M' o.qcow2
    "$QEMU_IMG" commit -q o.qcow2
    sha256sum <b.qcow2
}
for cluster in 512 4k 64k; do
    first=$(committed $cluster)
    for again in 1 2 3 4; do
        is "commit into clusters of $cluster, $again: the same bytes" "$(committed $cluster)" "$first"
    done
    is "commit into clusters of $cluster: no fault" "$("$QEMU_IMG" check b.qcow2 >/dev/null && echo good)" good
done

is 'made with --reproducible: the same bytes' "$(made -O qcow2 --reproducible)" "$(made -O qcow2)"
check 'create --reproducible' "$QEMU_IMG" create -q --reproducible -f qcow2 -o cluster_size=4k n.qcow2 1M
never='qemu-img: --reproducible cannot be had with encryption: keys must not be known'
for format in luks 'qcow2 -o encrypt.format=luks,encrypt.key-secret=s' 'qcow2 -o encryption=on'; do
    # shellcheck disable=SC2086
    fails "create of $format: refused" 1 "$never" "$QEMU_IMG" create -q --reproducible \
        --object secret,id=s,data=x -f $format n.img 1M
done
fails 'convert to luks: refused' 1 "$never" "$QEMU_IMG" convert --reproducible --object secret,id=s,data=x \
    -O luks -o key-secret=s source.raw n.img
fails 'convert -W: refused' 1 'qemu-img: Out of order write and --reproducible are mutually exclusive' \
    "$QEMU_IMG" convert --reproducible -W -O qcow2 source.raw n.img
is 'nothing was made' "$(ls n.img 2>&1 | grep -c 'No such')" 1
fails '--reproducible is about -c' 1 "qemu-img: --reproducible requires '-c'
Try 'qemu-img snapshot --help' for more info" "$QEMU_IMG" snapshot --reproducible -l t.qcow2
done_testing
