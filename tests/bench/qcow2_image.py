# SPDX-License-Identifier: GPL-2.0-or-later
"""Large qcow2 images for measuring, written directly: metadata only, the data is a hole."""
import array
import random
import struct

CLUSTER = 65536
PER_TABLE = CLUSTER // 8
PER_BLOCK = CLUSTER // 2
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


def write_image(path, size, clusters, snapshots=0, scattered=True, spread=False, seed=1):
    """An image of @size bytes with @clusters data clusters, all shared with the snapshots.

    @scattered: all over the disk, and in any order in the file; @spread: with holes between them there.
    """
    rng = random.Random(seed)
    l1_entries = size // (CLUSTER * PER_TABLE)
    guest = sorted(rng.sample(range(size // CLUSTER), clusters)) if scattered else range(clusters)
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
    counts = array.array('H', [0]) * (blocks * PER_BLOCK)
    for i in range(data):
        counts[i] = 1 + snapshots if l2 <= i < blocks_at else 1
    for i in host:
        counts[i] = 1 + snapshots
    counts.byteswap()
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
        put(blocks_at, counts.tobytes())
