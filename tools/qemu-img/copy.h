/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copying the content of images into another: what qemu-img convert does once all are open.
 *
 * Several workers share the work.  Each takes the next piece, reads it, waits until all writes of
 * the pieces before it have begun (where the target allocates clusters: have ended), and writes; so
 * reading and writing overlap while the target is filled in order, which keeps it free of
 * fragmentation, and the same for any number of workers.
 */
#ifndef QEMU_IMG_COPY_H
#define QEMU_IMG_COPY_H

#include "qemu-img.h"

#define IMG_COPY_MAX_WORKERS 16
#define IMG_COPY_CHUNK (2 * 1024 * 1024)

#define IMG_COPY_WORKERS 8
/*
 * Between files that the host caches: it takes one write to a file at a time, and more than it is
 * working on only pushes each other's data out of the processors' caches.
 */
#define IMG_COPY_CACHED_BYTES (2 * IMG_COPY_CHUNK)
/* A target compresses two requests at a time; one more is read, one written. */
#define IMG_COPY_COMPRESSED_BYTES (4 * IMG_COPY_CHUNK)

typedef struct ImgCopy {
    ImgBackend **sources; /* their contents one after the other */
    int n_sources;
    ImgBackend *target;
    int64_t skip;         /* bytes of their contents that are left out at the start */
    int64_t limit;        /* bytes to be copied at most; 0: all */
    int n_workers;
    int64_t max_in_flight;   /* bytes of data under way; 0: all that workers take */
    int64_t sparse_bytes;    /* aligned zeroes of this length are not written as data; 0: all are */
    uint64_t rate;           /* bytes per second; 0: no limit */
    bool out_of_order;       /* write as soon as data is there */
    bool compressed;
    bool offload;            /* try to let the host copy, without looking at the data */
    bool share;              /* what is not zero may share blocks of the sources' files */
    bool salvage;            /* what cannot be read becomes zeroes */
    bool quiet;
    bool target_is_zero;     /* reads as zeroes where nothing is written */
    bool target_has_backing; /* unwritten, it shows what the source's backing file shows */
    bool (*is_interrupted)(void); /* asked before each piece: is the user tired of waiting? */
} ImgCopy;

/** Bytes of all sources without regard to skip and limit, or a negative errno. */
int64_t coroutine_fn img_co_copy_length(const ImgCopy *copy);

/**
 * Copy, showing progress by qemu_progress_print().  The target is large enough.
 * Returns: 0, or a negative errno, reported; -EINTR if interrupted.
 */
int coroutine_fn img_co_copy(const ImgCopy *copy);

#endif
