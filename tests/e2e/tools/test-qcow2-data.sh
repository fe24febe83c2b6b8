#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Compressed clusters, subclusters and data files: what one program writes, the other reads.
. "$SRC/tests/e2e/lib.sh"
requires "$STOCK_IMG" "$STOCK_IO"

python3 - <<'END'
import random
random.seed(1996)
with open('source.raw', 'wb') as f:
    for i in range(160):
        kind = i % 4
        f.write(random.randbytes(65536) if kind == 0 else
                (b'%d bottles of beer on the wall, ' % i * 3000)[:65536] if kind == 1 else
                (random.randbytes(5000) + bytes(65536))[:65536] if kind == 2 else bytes(65536))
    f.write(b'the end.' * 100)
    f.truncate((160 << 16) + 1024)
END

# ---- compressed --------------------------------------------------------------------------------
for options in compression_type=zlib cluster_size=4k compression_type=zstd,cluster_size=2M \
    cluster_size=512,refcount_bits=1 compat=0.10 extended_l2=on; do
    check "we pack $options" "$QEMU_IMG" convert -c -O qcow2 -o $options source.raw ours.qcow2
    check "stock packs $options" "$STOCK_IMG" convert -c -O qcow2 -o $options source.raw stock.qcow2
    check "stock reads $options" "$STOCK_IMG" compare source.raw ours.qcow2
    check "stock checks $options" "$STOCK_IMG" check -q ours.qcow2
    check "we check $options" "$QEMU_IMG" check -q ours.qcow2
    check "we read $options" "$QEMU_IMG" compare source.raw stock.qcow2
    "$QEMU_IMG" convert -m 1 -c -O qcow2 -o $options source.raw one.qcow2
    "$QEMU_IMG" convert -m 16 -c -O qcow2 -o $options source.raw many.qcow2
    check "workers make no difference $options" cmp one.qcow2 many.qcow2
done

# A worn compressed image: overwritten in part, packed anew, discarded.
for program in "$QEMU_IO" "$STOCK_IO"; do
    "$program" -c 'write -P 7 100k 3k' -c 'write -z 1M 64k' -c 'discard 2M 1M' \
        -c 'write -c -P 8 2M 128k' ours.qcow2 >/dev/null
    "$program" -f raw -c 'write -P 7 100k 3k' -c 'write -z 1M 64k' -c 'write -z 2M 1M' \
        -c 'write -P 8 2M 128k' source.raw >/dev/null
    check "worn image of ${program##*/} compares" "$STOCK_IMG" compare source.raw ours.qcow2
    check "worn image of ${program##*/} has no leaks" "$STOCK_IMG" check -q ours.qcow2
done

# ---- subclusters and data files ----------------------------------------------------------------
# wear PROGRAM FORMAT IMAGE
wear() {
    "$1" -f "$2" -c 'write -P 1 0 64k' -c 'write -P 2 70000 100000' -c 'write -z 128k 64k' \
        -c 'write -P 3 2M 1M' -c 'write -z -u 2200k 600k' -c 'write -P 4 130k 3k' \
        -c 'write -z 1026k 6k' -c 'write -P 5 1027k 1k' "$3" >/dev/null
}

for options in extended_l2=on extended_l2=on,cluster_size=16k,preallocation=metadata \
    data_file=d.raw data_file=d.raw,data_file_raw=on data_file=d.raw,extended_l2=on; do
    for writer in ours stock; do
        img=$QEMU_IMG io=$QEMU_IO other=$STOCK_IMG
        [ $writer = ours ] || { img=$STOCK_IMG io=$STOCK_IO other=$QEMU_IMG; }
        rm -f t.qcow2 d.raw m.raw
        truncate -s 3M m.raw
        "$img" create -q -f qcow2 -o $options t.qcow2 3M
        wear "$io" qcow2 t.qcow2
        wear "$STOCK_IO" raw m.raw
        check "$writer: $options compares" "$other" compare -F raw -f qcow2 t.qcow2 m.raw
        case $options in
        *raw=on) check "$writer: $options, the data file is the disk" cmp d.raw m.raw ;;
        esac
        for size in 4M 2500k 5M; do
            "$img" resize -q --shrink t.qcow2 $size
            truncate -s $size m.raw
        done
        check "$writer: $options compares after resizes" \
            "$other" compare -F raw -f qcow2 t.qcow2 m.raw
        check "$writer: $options is in order" "$other" check -q t.qcow2
    done
done

# The data file need not be the disk any more, and the image need not name it.
"$STOCK_IMG" create -q -f qcow2 -o data_file=d.raw,data_file_raw=on t.qcow2 3M
wear "$QEMU_IO" qcow2 t.qcow2
"$QEMU_IMG" convert -O raw t.qcow2 m.raw
check 'data_file_raw goes' "$QEMU_IMG" amend -o data_file_raw=off t.qcow2
"$STOCK_IMG" info t.qcow2 | grep -q 'data file raw: false'
ok $? 'stock sees that'
check 'the disk stays' "$STOCK_IMG" compare -F raw -f qcow2 t.qcow2 m.raw
fails 'it does not come again' 1 'qemu-img: data-file-raw cannot be set on existing images' \
    "$QEMU_IMG" amend -o data_file_raw=on t.qcow2
check 'the name goes' "$QEMU_IMG" amend -o data_file= t.qcow2
for program in "$QEMU_IMG" "$STOCK_IMG"; do
    run "$program" info t.qcow2
    case $out in
    *'data file:'*) ok 1 "$program tells no name"; note "$out" ;;
    *) ok 0 "$program tells no name" ;;
    esac
done
check 'it is found by the name that is given' "$STOCK_IMG" check -q --image-opts \
    driver=qcow2,file.filename=t.qcow2,data-file.filename=d.raw

# A name in an image is that of a file, and of nothing else.
"$STOCK_IMG" create -q -f qcow2 -o data_file=d.raw t.qcow2 1M
python3 - <<'END'
data = bytearray(open('t.qcow2', 'rb').read())
at = data.index(b'd.raw')
name = b'json:{"driver":"null-co"}'
# The name is the last extension but one or two: those behind it are not needed.
data[at - 4:at] = len(name).to_bytes(4, 'big')
data[at:at + 64] = (name + bytes(64))[:64]
open('t.qcow2', 'wb').write(data)
END
run "$QEMU_IO" -r -c 'read 0 512' t.qcow2
case $out$err in
*"Could not open 'json:"*'No such file'*) ok 0 'a json: name is that of a missing file' ;;
*) ok 1 'a json: name is that of a missing file'; note "$out$err" ;;
esac
done_testing
