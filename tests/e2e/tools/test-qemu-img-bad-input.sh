#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# qemu-img with input that is wrong: one clear sentence, the documented status, nothing harmed.
. "$SRC/tests/e2e/lib.sh"

random_bytes 65536 >garbage.img
printf 'QFI\373\0\0\0\3' >truncated.qcow2
mkdir dir
truncate -s 1M plain.raw
"$QEMU_IMG" create -q -f qcow2 locked.qcow2 1M

# expect NAME STATUS COMMAND...: that status, one line that begins with the program, no signal.
expect() {
    name_=$1 status_=$2
    shift 2
    run "$@"
    if [ "$status" -ne "$status_" ]; then
        ok 1 "$name_"
        note "status $status, wanted $status_: $err"
    elif ! printf '%s\n' "$err" | head -n 1 | grep -q '^qemu-img[ a-z]*: .'; then
        ok 1 "$name_"
        note "said: $err"
    elif [ "$(printf '%s\n' "$err" | grep -c '^qemu-img')" -ne 1 ]; then
        ok 1 "$name_"
        note "more than a sentence: $err"
    else
        ok 0 "$name_"
    fi
}

expect_all() {
    what=$1 file=$2
    expect "info of $what" 1 "$QEMU_IMG" info "$file"
    expect "check of $what" 1 "$QEMU_IMG" check "$file"
    expect "map of $what" 1 "$QEMU_IMG" map "$file"
    expect "bench of $what" 1 "$QEMU_IMG" bench "$file"
    expect "compare of $what" 2 "$QEMU_IMG" compare "$file" plain.raw
    expect "compare with $what" 2 "$QEMU_IMG" compare -f raw plain.raw "$file"
    expect "convert of $what" 1 "$QEMU_IMG" convert -O raw "$file" out.raw
    is "convert of $what leaves no target" "$(ls out.raw 2>/dev/null)" ''
}

mkfifo fifo
expect 'a new image in a FIFO' 1 "$QEMU_IMG" create -q fifo 1M
expect_all 'no such file' none.img
expect_all 'a directory' dir
expect_all 'an empty name' ''
expect_all 'an unknown protocol' nosuch:x
expect_all 'malformed JSON' 'json:{"driver"'
expect_all 'JSON that is no object' 'json:[]'
expect_all 'an unknown option' 'json:{"driver":"raw","file.filename":"plain.raw","file.bogus":1}'
expect_all 'an unknown driver' 'json:{"driver":"nosuch","file.filename":"plain.raw"}'
expect 'garbage as qcow2' 1 "$QEMU_IMG" info -f qcow2 garbage.img
expect 'a truncated header as qcow2' 1 "$QEMU_IMG" info -f qcow2 truncated.qcow2
expect 'raw as qcow2' 1 "$QEMU_IMG" check -f qcow2 plain.raw
expect 'an unknown format' 1 "$QEMU_IMG" map -f nosuch plain.raw

# ---- sizes and options
for size in '' abc 1Q 1e3 16E 1.x 0x; do
    expect "size '$size'" 1 "$QEMU_IMG" create -f raw new.raw "$size"
done
expect 'an unknown option of creation' 1 "$QEMU_IMG" create -f raw -o bogus=1 new.raw 1M
expect 'an option list with a hole' 1 "$QEMU_IMG" create -f raw -o 'size=1M,,' new.raw
expect 'a size twice' 1 "$QEMU_IMG" create -f raw -o size=1M new.raw 1M
expect 'no size' 1 "$QEMU_IMG" create -f raw new.raw
expect 'an argument too many' 1 "$QEMU_IMG" create -f raw new.raw 1M 2M
expect 'an unknown flag' 1 "$QEMU_IMG" create -Z new.raw 1M
expect 'a flag without its value' 1 "$QEMU_IMG" create -f
expect 'a device that cannot grow' 1 "$QEMU_IMG" dd if=plain.raw of=/dev/null
expect 'an unknown kind of object' 1 "$QEMU_IMG" info --object nosuch,id=x plain.raw
is 'none of these made a file' "$(ls new.raw 2>/dev/null)" ''
expect 'a folder that does not exist' 1 "$QEMU_IMG" create -q -f raw nodir/new.raw 1M
expect 'a folder as target' 1 "$QEMU_IMG" convert -f raw -O raw plain.raw dir
expect 'convert without a target' 1 "$QEMU_IMG" convert plain.raw
expect 'convert -m 0' 1 "$QEMU_IMG" convert -m 0 -f raw plain.raw out.raw
expect 'convert -S 100' 1 "$QEMU_IMG" convert -S 100 -f raw plain.raw out.raw
expect 'convert -r x' 1 "$QEMU_IMG" convert -r x -f raw plain.raw out.raw
expect 'convert -c to raw' 1 "$QEMU_IMG" convert -c -O raw -f raw plain.raw out.raw
expect 'convert -B to raw' 1 "$QEMU_IMG" convert -B x -F raw -O raw -f raw plain.raw out.raw
expect 'convert to an unknown format' 1 "$QEMU_IMG" convert -O nosuch -f raw plain.raw out.raw
expect 'convert of a snapshot' 1 "$QEMU_IMG" convert -l x -f raw plain.raw out.raw
expect 'convert -n without a target' 1 "$QEMU_IMG" convert -n -f raw plain.raw out.raw
is 'none of these made a target' "$(ls out.raw 2>/dev/null)" ''

# ---- what may not be harmed
sum=$(cksum <garbage.img)
expect 'a target whose options are wrong' 1 "$QEMU_IMG" convert -O raw -o bogus=1 -f raw plain.raw \
    garbage.img
expect 'a target that cannot be compressed' 1 "$QEMU_IMG" convert -c -O raw -f raw plain.raw \
    garbage.img
expect 'a target too small' 1 "$QEMU_IMG" convert -n -O raw -f raw plain.raw garbage.img
is 'the target of a refused convert is as before' "$(cksum <garbage.img)" "$sum"

# ---- locked by another process
# It answers once it has the lock; asking for the lock would get in its way.
mkfifo orders
"$QEMU_IO" locked.qcow2 <orders >holder.out 2>&1 &
exec 3>orders
echo length >&3
until_true grep -q MiB holder.out
sum=$(cksum <locked.qcow2)
expect 'info of a locked image' 1 "$QEMU_IMG" info locked.qcow2
expect 'check of a locked image' 1 "$QEMU_IMG" check locked.qcow2
expect 'convert of a locked image' 1 "$QEMU_IMG" convert -O raw locked.qcow2 out.raw
expect 'convert to a locked image' 1 "$QEMU_IMG" convert -f raw -O qcow2 plain.raw locked.qcow2
expect 'create over a locked image' 1 "$QEMU_IMG" create -q -f qcow2 locked.qcow2 2M
expect 'compare of a locked image' 2 "$QEMU_IMG" compare locked.qcow2 locked.qcow2
check 'info -U of a locked image' "$QEMU_IMG" info -U locked.qcow2
is 'the locked image is as before' "$(cksum <locked.qcow2)" "$sum"
exec 3>&-
wait
# says NAME SENTENCE ARGUMENT...: status 1, and that sentence; image s.qcow2 stays as it was.
says() {
    name_=$1 said_="qemu-img: $2"
    shift 2
    cp s.qcow2 before.qcow2
    run "$QEMU_IMG" "$@"
    is "$name_: the sentence" "$(printf '%s\n' "$err" | grep -v '^WARNING\|^  ')" "$said_"
    is "$name_: status" "$status" 1
    check "$name_: nothing changed" cmp s.qcow2 before.qcow2
}

"$QEMU_IMG" create -q -f qcow2 s.qcow2 1M
"$QEMU_IMG" snapshot -c a s.qcow2
"$QEMU_IMG" create -q -f qcow2 -o refcount_bits=1 narrow.qcow2 1M
"$QEMU_IO" -f qcow2 -c 'write -q 0 64k' narrow.qcow2
only=driver=qcow2,file.filename=s.qcow2,read-only=on
cannot="Could not open '$only': Block node is read-only"

for change in 'snapshot -c b' 'snapshot -a a' 'snapshot -d a' 'bitmap --add' 'resize' \
              'amend -o lazy_refcounts=on' 'check -r all' 'rebase -b ""' 'commit' 'compact' 'bench -w'; do
    case $change in
        resize) rest=8M ;;
        bitmap*) rest=b ;;
        *) rest= ;;
    esac
    # shellcheck disable=SC2086 # words
    says "read-only, $change" "$cannot" $change --image-opts "$only" $rest
done
says 'read-only, convert -n' "$cannot" convert -n --target-image-opts plain.raw "$only"

says 'snapshot -a of none' "Could not apply snapshot 'b': Failed to load snapshot: \
No such file or directory" snapshot -a b s.qcow2
says 'snapshot -a of no name' "Could not apply snapshot '': Failed to load snapshot: \
No such file or directory" snapshot -a '' s.qcow2
says 'snapshot -d of none' "Could not delete snapshot 'b': snapshot not found" snapshot -d b s.qcow2
says 'snapshot -d of an id' "Could not delete snapshot '1': snapshot not found" snapshot -d 1 s.qcow2
says 'snapshot -d of no name' "Could not delete snapshot '': snapshot not found" snapshot -d '' s.qcow2
says 'snapshot -U -c' "Could not open 's.qcow2': force-share=on can only be used with read-only images" \
    snapshot -U -c b s.qcow2
says 'snapshot -c of raw' "Could not create snapshot 'b': Block driver 'raw' does not support internal \
snapshots" snapshot -c b plain.raw
says 'snapshot -a of raw' "Could not apply snapshot 'a': Block driver 'raw' does not support internal \
snapshots" snapshot -a a plain.raw
says 'snapshot -d of raw' "Could not delete snapshot 'a': snapshot not found" snapshot -d a plain.raw
says 'snapshot -c with narrow refcounts' "Could not create snapshot 'b': Refcounts of 1 bit cannot count \
one more reference to the cluster at 0x50000" snapshot -c b narrow.qcow2
says 'snapshot -c with a long name' "Could not create snapshot '$(printf %065536d 0)': The name of the \
snapshot is too long" snapshot -c "$(printf %065536d 0)" s.qcow2

done_testing
