#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# usage: make-qcow2-seeds.sh BUILD - make the images in seeds/qcow2-{open,check,io} anew, small ones
# with something of every feature.
set -e
build=$(cd "$1" && pwd)
cd "$(dirname "$0")/seeds"
img() { "$build/qemu-img" "$@" >/dev/null; }
io() { file=$1; shift; for c in "$@"; do set -- "$@" -c "$c"; shift; done; "$build/qemu-io" "$@" "$file" >/dev/null; }

mkdir -p qcow2-open qcow2-check qcow2-io
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
make() { name=$1; shift; img create -f qcow2 -o "$1" "$dir/$name" "${2:-64K}"; }

make plain cluster_size=512
io "$dir/plain" 'write -P 1 0 2k' 'write -P 2 30k 3k' 'write -z 8k 4k' 'discard 31k 1k'
make v2 compat=0.10,cluster_size=512
io "$dir/v2" 'write -P 1 1k 2k' 'write -P 2 60k 4k'
make narrow cluster_size=512,refcount_bits=1
io "$dir/narrow" 'write -P 3 5k 4k'
make packed cluster_size=1024
io "$dir/packed" 'write -c -P 4 0 1k' 'write -c -P 5 1k 1k' 'write -c -P 6 9k 1k' 'write -P 7 2k 1k'
make snapshots cluster_size=512
io "$dir/snapshots" 'write -P 1 0 4k'
img snapshot -c one "$dir/snapshots"
io "$dir/snapshots" 'write -P 2 2k 4k'
img snapshot -c two "$dir/snapshots"
io "$dir/snapshots" 'write -P 3 1k 1k'
make bitmaps cluster_size=512
img bitmap --add -g 512 "$dir/bitmaps" a
img bitmap --add -g 4096 --disable "$dir/bitmaps" b
io "$dir/bitmaps" 'write -P 1 16k 3k'
make extended cluster_size=16k,extended_l2=on
io "$dir/extended" 'write -P 1 512 1k' 'write -z 20k 1k'
make leaks cluster_size=512
io "$dir/leaks" 'write -P 1 0 4k'
printf '\000' | dd of="$dir/leaks" bs=1 seek=2048 conv=notrunc status=none

sealed() { # NAME FORMAT OPTIONS
    "$build/qemu-img" create -q -f qcow2 --object 'secret,id=keeper,data=password of keeper' \
        -o "encrypt.format=$2,encrypt.key-secret=keeper,$3" "$dir/$1" 64K
    "$build/qemu-io" --object 'secret,id=keeper,data=password of keeper' --image-opts \
        -c 'write -q -P 1 0 3k' -c 'write -q -P 2 30k 2k' \
        "driver=qcow2,encrypt.format=$2,encrypt.key-secret=keeper,file.filename=$dir/$1"
}
sealed luks luks cluster_size=4096,encrypt.iter-time=1,encrypt.cipher-alg=aes-128,encrypt.cipher-mode=cbc
sealed aes aes cluster_size=512
make zstd cluster_size=4096,compression_type=zstd
io "$dir/zstd" 'write -c -P 4 0 4k' 'write -c -P 5 8k 4k' 'write -P 7 4k 4k'
(cd "$dir" && img create -f qcow2 -o cluster_size=512,data_file=disk.data apart 64K &&
    io apart 'write -P 1 0 2k' 'write -z 8k 1k')
make wide cluster_size=512,preallocation=metadata 256K
io "$dir/wide" 'write -P 1 200k 2k' 'discard 100k 9k'
make mixed cluster_size=1024,refcount_bits=64
img bitmap --add -g 1024 "$dir/mixed" a
io "$dir/mixed" 'write -c -P 4 0 1k' 'write -P 1 4k 4k'
img snapshot -c one "$dir/mixed"
io "$dir/mixed" 'write -c -P 5 1k 1k' 'write -P 2 5k 1k' 'write -z 60k 2k'

for seed in plain v2 narrow packed snapshots bitmaps extended leaks luks aes zstd apart wide mixed; do
    cp "$dir/$seed" qcow2-open/
    cp "$dir/$seed" qcow2-check/
    { head -c 64 /dev/zero | tr '\0' '\132'; cat "$dir/$seed"; } >qcow2-io/$seed
    # Kind, place, length, value: writes, zeroes, a discard, a flush, snapshots.
    printf '\000\010\003\101\001\200\011\102\002\100\004\001\003\020\002\000\004\000\000\000\005\000\000\001' |
        dd of=qcow2-io/$seed bs=1 conv=notrunc status=none
done
