#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# LUKS images: what is written is read back, by us and by stock tools; key slots; refusals.
. "$SRC/tests/e2e/lib.sh"

A=(--object secret,id=a,data=first)
B=(--object secret,id=b,data=second)
at() { echo "driver=luks,key-secret=$2,file.filename=$1"; } # at FILE SECRET

"$QEMU_IMG" measure "${A[@]}" -O luks -o key-secret=a --size 1M >m.out 2>m.err || true
if grep -q 'not supported by this build' m.err; then
    skip_all 'built without libgcrypt'
fi

random_bytes 3000000 >data.raw
check 'data is converted to LUKS' \
    "$QEMU_IMG" convert "${A[@]}" -f raw -O luks -o key-secret=a,iter-time=10 data.raw d.luks
check 'and is the same' "$QEMU_IMG" compare "${A[@]}" --image-opts driver=raw,file.filename=data.raw \
    "$(at d.luks a)"
is 'no data is in the file as it was' "$(cmp -s data.raw <(tail -c 3000320 d.luks) && echo same)" ''

for kind in cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256 \
    cipher-alg=serpent-256,cipher-mode=cbc,hash-alg=sha512 \
    cipher-alg=aes-256,cipher-mode=xts; do
    check "$kind: convert" "$QEMU_IMG" convert "${A[@]}" -f raw -O luks \
        -o "key-secret=a,iter-time=10,$kind" data.raw k.luks
    check "$kind: reads back" "$QEMU_IMG" compare "${A[@]}" --image-opts \
        driver=raw,file.filename=data.raw "$(at k.luks a)"
    if [ -x "$STOCK_IMG" ]; then
        check "$kind: stock reads it" "$STOCK_IMG" compare "${A[@]}" --image-opts \
            driver=raw,file.filename=data.raw "$(at k.luks a)"
        # Its measuring of time fails now and then, or does not end.
        for _ in 1 2 3 4 5 6; do
            rm -f k.luks
            run timeout 30 "$STOCK_IMG" convert "${A[@]}" -f raw -O luks \
                -o "key-secret=a,iter-time=10,$kind" data.raw k.luks
            case $status$err in 124* | *'accurate CPU usage'*) ;; *) break ;; esac
        done
        case $status$err in
        124* | *'accurate CPU usage'*) skip "$kind: stock writes it" 'it cannot measure time here'; continue ;;
        esac
        is "$kind: stock writes it" "$status$err" 0
        check "$kind: we read that" "$QEMU_IMG" compare "${A[@]}" --image-opts \
            driver=raw,file.filename=data.raw "$(at k.luks a)"
    else
        skip "$kind: with stock" 'stock qemu-img is not installed'
    fi
done

check 'a second password' "$QEMU_IMG" amend "${A[@]}" "${B[@]}" \
    -o state=active,new-secret=b,iter-time=10 --image-opts "$(at d.luks a)"
check 'opens it' "$QEMU_IMG" compare "${B[@]}" --image-opts driver=raw,file.filename=data.raw \
    "$(at d.luks b)"
check 'the first is taken away' "$QEMU_IMG" amend "${A[@]}" "${B[@]}" \
    -o state=inactive,old-secret=a --image-opts "$(at d.luks b)"
fails 'and opens it no more' 1 \
    "qemu-img: Could not open '$(at d.luks a)': Invalid password, cannot unlock any keyslot" \
    "$QEMU_IMG" map "${A[@]}" --image-opts "$(at d.luks a)"
is 'its key material is gone' \
    "$("$QEMU_IMG" info --output=json d.luks | grep -c '"active": true')" 1
fails 'the last password stays' 1 'qemu-img: All the active keyslots match the (old) password that was given and erasing them will erase all the data in the image irreversibly - refusing operation' \
    "$QEMU_IMG" amend "${B[@]}" -o state=inactive,old-secret=b --image-opts "$(at d.luks b)"
fails 'a slot that is none' 1 'qemu-img: Invalid keyslot 8 specified, must be between 0 and 7' \
    "$QEMU_IMG" amend "${B[@]}" -o state=inactive,keyslot=8 --image-opts "$(at d.luks b)"

# Places outside the file.
cp d.luks far.luks
printf '\377\377\377\377' | dd of=far.luks bs=1 seek=104 conv=notrunc status=none
fails 'a payload that is nowhere' 1 \
    "qemu-io: can't open: The LUKS payload begins behind the end of the file" \
    "$QEMU_IO" "${B[@]}" -c 'read 0 1' --image-opts "$(at far.luks b)"
truncate -s 500 far.luks
fails 'a part of a header' 1 "qemu-io: can't open: The file is too short for a LUKS header" \
    "$QEMU_IO" "${B[@]}" -c 'read 0 1' --image-opts "$(at far.luks b)"
{ printf 'LUKS\272\276\0\2'; head -c 1M /dev/zero; } >v2.luks
fails 'a second version' 1 "qemu-io: can't open: LUKS version 2 is not supported" \
    "$QEMU_IO" "${B[@]}" -c 'read 0 1' --image-opts "driver=luks,key-secret=b,file.filename=v2.luks"

# A header that asks for years of iterations: for slot 1, the only one, or for the master key.
for field in 'slot 260' 'key 164'; do
    read -r name at <<<"$field"
    cp d.luks slow.luks
    printf '\377\377\377\377' | dd of=slow.luks bs=1 seek="$at" conv=notrunc status=none
    run "$QEMU_IO" "${B[@]}" -c 'read 0 1' --image-opts "$(at slow.luks b)"
    is "too many iterations for the $name" \
        "$status$(grep -c 'keyslot 1 would take too long (.*4294967295' <<<"$err")" 11
done
is 'the way round it is told' "$(grep -c QEMU_LUKS_MAX_SECONDS <<<"$err")" 1
fails 'a limit that is none' 1 \
    "qemu-io: can't open: Variable QEMU_LUKS_MAX_SECONDS is no number of seconds: 'x'" \
    env QEMU_LUKS_MAX_SECONDS=x "$QEMU_IO" "${B[@]}" -c 'read 0 1' --image-opts "$(at d.luks b)"
fails 'slots that nobody could open' 1 \
    'qemu-img: iter-time is more than 500 milliseconds, half of what opening may take' \
    env QEMU_LUKS_MAX_SECONDS=1 "$QEMU_IMG" amend "${A[@]}" "${B[@]}" \
    -o state=active,new-secret=a,iter-time=501 --image-opts "$(at d.luks b)"
check 'more time' env QEMU_LUKS_MAX_SECONDS=1000 "$QEMU_IO" "${B[@]}" -c 'read 0 1' --image-opts \
    "$(at d.luks b)"

check 'the disk grows' "$QEMU_IMG" resize -q "${B[@]}" --image-opts "$(at d.luks b)" 4M
run "$QEMU_IO" "${B[@]}" -c 'write -P 9 3M 4k' -c 'read -P 9 3M 4k' -c 'write -P 3 100 10' \
    -c 'read -P 3 100 10' --image-opts "$(at d.luks b)"
is 'and takes requests of any alignment' "$status$err" 0

check 'a header of its own' "$QEMU_IMG" create -q "${A[@]}" -f luks \
    -o detached-header=true,key-secret=a,iter-time=10 h.luks 1M
truncate -s 1M body.raw
detached="driver=luks,key-secret=a,file.filename=body.raw,header.driver=file,header.filename=h.luks"
run "$QEMU_IO" "${A[@]}" -c 'write -P 5 0 1M' -c 'read -P 5 0 1M' --image-opts "$detached"
is 'serves data elsewhere' "$status$err" 0
run "$QEMU_IO" "${A[@]}" -c 'read 0 1' --image-opts "$(at h.luks a)"
is 'and is needed for it' "$status" 1
done_testing
