#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# What cannot be written back when an image is closed is an error of the program that wrote it.
. "$SRC/tests/e2e/lib.sh"

# broken KEY=VALUE: options that open test.qcow2, with what fails of its file.
broken() {
    echo "driver=qcow2,file.driver=blkdebug,file.image.driver=file,file.image.filename=test.qcow2,\
file.inject-error.0.event=none,file.inject-error.0.errno=5,file.inject-error.0.once=off,file.inject-error.0.$1"
}

check 'an image' "$QEMU_IMG" create -q -f qcow2 test.qcow2 64M
run "$QEMU_IO" --image-opts "$(broken iotype=write)" -c 'write 0 64k'
is 'a write that fails' "$status" 1
run "$QEMU_IO" -c 'write 0 64k' test.qcow2
is 'a write that does not' "$status" 0

for event in event=flush_to_os iotype=flush; do
    run "$QEMU_IO" --image-opts "$(broken $event)" -c 'write 1M 64k' -c 'write 9M 64k'
    is "$event fails when the image is closed: status" "$status" 1
    echo "$out" | grep -q 'wrote 65536/65536 bytes at offset 9437184'
    ok $? "$event: the write itself went well"
    echo "$err" | grep -q 'Input/output error'
    ok $? "$event: the user is told"
    ! echo "$err" | grep -q '#block'
    ok $? "$event: by the name of the file"
    run "$QEMU_IO" --image-opts "$(broken $event)" -c 'write 1M 64k' -c close -c help
    is "$event: the command close says so, too" "$status" 1
    run "$QEMU_IMG" check -r leaks -q test.qcow2
    is "$event: no damage" "$status" 0
done
run "$QEMU_IMG" convert -f raw -O qcow2 -n --target-image-opts test.qcow2 "$(broken iotype=flush)"
is 'convert says so as well' "$status" 1
check 'reading writes nothing back' "$QEMU_IO" -r --image-opts "$(broken iotype=flush)" -c 'read -q 0 1M'
done_testing
