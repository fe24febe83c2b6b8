/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Scattered memory: plain iovec arrays, and QEMUIOVector, an iovec array that knows its size.
 *
 * Rules of use:
 *   - Ranges (offset, bytes) that reach beyond a vector are cut at its end by the iov_*()
 *     functions, which return what they did; the qemu_iovec_*() functions return it too unless
 *     said otherwise.
 *   - A QEMUIOVector borrows the memory it points to.  The array itself belongs to the vector
 *     after qemu_iovec_init(), to the caller after qemu_iovec_init_external(), and is inside the
 *     vector after qemu_iovec_init_buf().  Such vectors with outside or inner array cannot grow.
 *   - A QEMUIOVector may not be copied by assignment after qemu_iovec_init_buf().
 */
#ifndef QEMU_IOV_H
#define QEMU_IOV_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>

/* ---- iovec arrays --------------------------------------------------------------------------- */

/* Sum of the lengths. */
size_t iov_size(const struct iovec *iov, unsigned int iov_cnt);

size_t iov_from_buf_full(const struct iovec *iov, unsigned int iov_cnt, size_t offset,
                         const void *buf, size_t bytes);
size_t iov_to_buf_full(const struct iovec *iov, unsigned int iov_cnt, size_t offset,
                       void *buf, size_t bytes);

/* Copy @bytes from @buf to the vector at @offset; returns bytes copied. */
static inline size_t iov_from_buf(const struct iovec *iov, unsigned int iov_cnt, size_t offset,
                                  const void *buf, size_t bytes)
{
    if (iov_cnt && offset <= iov[0].iov_len && bytes <= iov[0].iov_len - offset) {
        if (bytes) {
            memcpy((char *)iov[0].iov_base + offset, buf, bytes);
        }
        return bytes;
    }
    return iov_from_buf_full(iov, iov_cnt, offset, buf, bytes);
}

/* Copy @bytes from the vector at @offset to @buf; returns bytes copied. */
static inline size_t iov_to_buf(const struct iovec *iov, unsigned int iov_cnt, size_t offset,
                                void *buf, size_t bytes)
{
    if (iov_cnt && offset <= iov[0].iov_len && bytes <= iov[0].iov_len - offset) {
        if (bytes) {
            memcpy(buf, (const char *)iov[0].iov_base + offset, bytes);
        }
        return bytes;
    }
    return iov_to_buf_full(iov, iov_cnt, offset, buf, bytes);
}

/* Set @bytes at @offset to @fill; returns bytes set. */
size_t iov_memset(const struct iovec *iov, unsigned int iov_cnt, size_t offset, int fill,
                  size_t bytes);

/**
 * Make @dst_iov point to @bytes of @iov from @offset on; memory is shared, not copied.
 * Returns: elements of @dst_iov used.  Stops when @dst_cnt elements are used up.
 */
unsigned int iov_copy(struct iovec *dst_iov, unsigned int dst_cnt, const struct iovec *iov,
                      unsigned int iov_cnt, size_t offset, size_t bytes);

/* Drop @bytes at the front (end): moves *@iov, counts down *@iov_cnt, changes one element in
 * place.  Returns bytes dropped. */
size_t iov_discard_front(struct iovec **iov, unsigned int *iov_cnt, size_t bytes);
size_t iov_discard_back(struct iovec *iov, unsigned int *iov_cnt, size_t bytes);

/* ---- QEMUIOVector --------------------------------------------------------------------------- */

typedef struct QEMUIOVector {
    struct iovec *iov;
    int niov;
    int nalloc;                 /* room in @iov; -1: the array is not ours and cannot grow */
    size_t size;                /* sum of the lengths */
    struct iovec local_iov;     /* the array of a vector over one buffer */
} QEMUIOVector;

/* Initializer of a local vector @self over one buffer. */
#define QEMU_IOVEC_INIT_BUF(self, buf, len) \
    { \
        .iov = &(self).local_iov, \
        .niov = 1, \
        .nalloc = -1, \
        .size = (len), \
        .local_iov = { .iov_base = (void *)(buf), .iov_len = (len) }, \
    }

/* Make an empty vector with room for @alloc_hint elements; needs qemu_iovec_destroy(). */
void qemu_iovec_init(QEMUIOVector *qiov, int alloc_hint);
/* Make a vector over @iov, which the caller keeps alive and unchanged. */
void qemu_iovec_init_external(QEMUIOVector *qiov, struct iovec *iov, int niov);
/* Make a vector over a part of @source, sharing memory; needs qemu_iovec_destroy(). */
void qemu_iovec_init_slice(QEMUIOVector *qiov, const QEMUIOVector *source, size_t offset,
                           size_t len);
/* Make a vector over one buffer; qemu_iovec_destroy() is not needed. */
static inline void qemu_iovec_init_buf(QEMUIOVector *qiov, void *buf, size_t len)
{
    *qiov = (QEMUIOVector) QEMU_IOVEC_INIT_BUF(*qiov, buf, len);
}
/* The memory of a vector over one buffer. */
static inline void *qemu_iovec_buf(const QEMUIOVector *qiov)
{
    g_assert(qiov->nalloc == -1 && qiov->iov == &qiov->local_iov);
    return qiov->local_iov.iov_base;
}

/* Append @len bytes at @base; adjacent memory is not joined. */
void qemu_iovec_add(QEMUIOVector *qiov, void *base, size_t len);
/* Append @bytes of @src from @offset on, which must be inside @src; memory is shared. */
void qemu_iovec_concat(QEMUIOVector *dst, const QEMUIOVector *src, size_t offset, size_t bytes);
/* The same from a plain array, cut at its end.  Returns bytes appended. */
size_t qemu_iovec_concat_iov(QEMUIOVector *dst, const struct iovec *src_iov, unsigned int src_cnt,
                             size_t offset, size_t bytes);

/**
 * Find the elements that hold @len bytes from @offset on; @offset + @len <= size.
 * @head: bytes to skip in the first element; @tail: bytes not used in the last one.
 * Returns: the first element.
 */
struct iovec *qemu_iovec_slice(const QEMUIOVector *qiov, size_t offset, size_t len, size_t *head,
                               size_t *tail, int *niov);
/* The number of elements qemu_iovec_slice() would give. */
int qemu_iovec_subvec_niov(const QEMUIOVector *qiov, size_t offset, size_t len);

/* Whether all of the range, which must be inside, is zero. */
bool qemu_iovec_is_zero(const QEMUIOVector *qiov, size_t offset, size_t bytes);
/* Free what the vector owns and make it empty and unusable; NULL is not allowed. */
void qemu_iovec_destroy(QEMUIOVector *qiov);
/* Make the vector empty, keeping its room. */
void qemu_iovec_reset(QEMUIOVector *qiov);

/* Copy between the vector at @offset and a buffer; returns bytes copied. */
size_t qemu_iovec_to_buf(const QEMUIOVector *qiov, size_t offset, void *buf, size_t bytes);
size_t qemu_iovec_from_buf(QEMUIOVector *qiov, size_t offset, const void *buf, size_t bytes);
size_t qemu_iovec_memset(QEMUIOVector *qiov, size_t offset, int fill, size_t bytes);

/**
 * Compare the contents of two vectors of equal size.
 * Returns: offset of the first byte that differs, or -1.
 */
ssize_t qemu_iovec_compare(const QEMUIOVector *a, const QEMUIOVector *b);

/* Drop @bytes at the end of a vector made by qemu_iovec_init(); returns bytes dropped. */
size_t qemu_iovec_discard_back(QEMUIOVector *qiov, size_t bytes);

#endif
