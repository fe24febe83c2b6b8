# SPDX-License-Identifier: GPL-2.0-or-later
"""Large qcow2 images, written directly: metadata only, the data is a hole."""
import array
import random
import struct

CLUSTER = 65536
PER_TABLE = CLUSTER // 8
PER_BLOCK = CLUSTER // 2
PAGE = 4096
COPIED = 1 << 63


def header(size, l1_entries, l1, snapshots, table):
    head = struct.pack('>IIQIIQIIQQIIQ', 0x514649fb, 3, 0, 0, 16, size, 0, l1_entries, l1 * CLUSTER, CLUSTER, 1,
                       snapshots, table * CLUSTER if snapshots else 0)
    return head + struct.pack('>QQQII', 0, 0, 0, 4, 112) + bytes(16)


def snapshot_table(places, l1_entries, size):
    table = b''
    for i, place in enumerate(places):
        name = b'%d' % (i + 1)
        entry = struct.pack('>QIHHIIQII', place * CLUSTER, l1_entries, len(name), len(name) + 1, 0, 0, 0, 0, 24)
        entry += struct.pack('>QQQ', 0, size, (1 << 64) - 1) + name + b's' + name
        table += entry + bytes(-len(entry) % 8)
    return table


def write_counts(f, at, blocks, data, host, counts):
    """Refcount blocks from byte @at on: those before cluster @data as @counts say, @host all of the last count.
    Pages of zeroes stay holes."""
    by_block = {}
    for i in host:
        by_block.setdefault(i // PER_BLOCK, []).append(i % PER_BLOCK)
    for b in range(blocks):
        first = b * PER_BLOCK
        if b not in by_block and first >= data:
            continue
        block = array.array('H', counts[first:min(first + PER_BLOCK, data)])
        block.extend([0] * (PER_BLOCK - len(block)))
        for i in by_block.get(b, ()):
            block[i] = counts[-1]
        block.byteswap()
        content = block.tobytes()
        for page in range(0, CLUSTER, PAGE):
            if any(content[page:page + PAGE]):
                f.seek(at + b * CLUSTER + page)
                f.write(content[page:page + PAGE])


def write_image(path, size, clusters, snapshots=0, scattered=True, spread=False, seed=1, tables=None):
    """An image of @size bytes with @clusters data clusters, all shared with the snapshots.

    @scattered: all over the disk, or what its first @tables L2 tables describe, and in any order in the file;
    @spread: with holes between them there.
    """
    rng = random.Random(seed)
    l1_entries = size // (CLUSTER * PER_TABLE)
    places = tables * PER_TABLE if tables else size // CLUSTER
    guest = sorted(rng.sample(range(places), clusters)) if scattered else range(clusters)
    by_table = {}
    for at in guest:
        by_table.setdefault(at // PER_TABLE, []).append(at % PER_TABLE)
    l1_clusters = -(-l1_entries * 8 // CLUSTER)
    l1 = 2
    table = l1 + l1_clusters
    copies = [table + 1 + i * l1_clusters for i in range(snapshots)]
    l2 = table + 1 + snapshots * l1_clusters if snapshots else table
    blocks_at = l2 + len(by_table)
    blocks = 1
    room = size // CLUSTER if spread else clusters
    while blocks * PER_BLOCK < blocks_at + blocks + room:
        blocks += 1
    data = blocks_at + blocks
    host = rng.sample(range(data, data + room), clusters) if scattered else list(range(data, data + clusters))
    end = max(host) + 1
    flag = 0 if snapshots else COPIED
    counts = [1 + snapshots if l2 <= i < blocks_at else 1 for i in range(data)] + [1 + snapshots]
    with open(path, 'wb') as f:
        def put(cluster, content):
            f.seek(cluster * CLUSTER)
            f.write(content)
        f.truncate(end * CLUSTER)
        put(0, header(size, l1_entries, l1, snapshots, table))
        put(1, struct.pack(f'>{blocks}Q', *((blocks_at + i) * CLUSTER for i in range(blocks))))
        first = bytearray(l1_entries * 8)
        host_of = iter(host)
        for i, index in enumerate(by_table):
            struct.pack_into('>Q', first, index * 8, (l2 + i) * CLUSTER | flag)
            content = bytearray(CLUSTER)
            for slot in by_table[index]:
                struct.pack_into('>Q', content, slot * 8, next(host_of) * CLUSTER | flag)
            put(l2 + i, content)
        for place in [l1, *copies]:
            put(place, first)
        if snapshots:
            put(table, snapshot_table(copies, l1_entries, size))
        write_counts(f, blocks_at * CLUSTER, blocks, data, host, counts)
