/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * iovec arrays and QEMUIOVector.
 */
#include "qemu/osdep.h"
#include "qemu/iov.h"
#include "qemu/iszero.h"

/* A walk over the pieces of (offset, bytes); pieces are never empty. */
typedef struct IovWalk {
    const struct iovec *iov;
    const struct iovec *end;
    size_t skip;                /* in *iov */
    size_t left;
} IovWalk;

static IovWalk walk_start(const struct iovec *iov, unsigned int iov_cnt, size_t offset,
                          size_t bytes)
{
    return (IovWalk){ .iov = iov, .end = iov + iov_cnt, .skip = offset, .left = bytes };
}

/* Step to the next piece; false at the end of the range or the vector. */
static bool walk_next(IovWalk *walk, char **base, size_t *len)
{
    while (walk->left && walk->iov < walk->end) {
        const struct iovec *cur = walk->iov++;

        if (walk->skip >= cur->iov_len) {
            walk->skip -= cur->iov_len;
            continue;
        }
        *base = (char *)cur->iov_base + walk->skip;
        *len = MIN(cur->iov_len - walk->skip, walk->left);
        walk->skip = 0;
        walk->left -= *len;
        return true;
    }
    return false;
}

size_t iov_size(const struct iovec *iov, unsigned int iov_cnt)
{
    size_t size = 0;

    for (unsigned int i = 0; i < iov_cnt; i++) {
        size += iov[i].iov_len;
    }
    return size;
}

size_t iov_from_buf_full(const struct iovec *iov, unsigned int iov_cnt, size_t offset,
                         const void *buf, size_t bytes)
{
    IovWalk walk = walk_start(iov, iov_cnt, offset, bytes);
    size_t done = 0;
    char *base;
    size_t len;

    while (walk_next(&walk, &base, &len)) {
        memcpy(base, (const char *)buf + done, len);
        done += len;
    }
    return done;
}

size_t iov_to_buf_full(const struct iovec *iov, unsigned int iov_cnt, size_t offset,
                       void *buf, size_t bytes)
{
    IovWalk walk = walk_start(iov, iov_cnt, offset, bytes);
    size_t done = 0;
    char *base;
    size_t len;

    while (walk_next(&walk, &base, &len)) {
        memcpy((char *)buf + done, base, len);
        done += len;
    }
    return done;
}

size_t iov_memset(const struct iovec *iov, unsigned int iov_cnt, size_t offset, int fill,
                  size_t bytes)
{
    IovWalk walk = walk_start(iov, iov_cnt, offset, bytes);
    size_t done = 0;
    char *base;
    size_t len;

    while (walk_next(&walk, &base, &len)) {
        memset(base, fill, len);
        done += len;
    }
    return done;
}

unsigned int iov_copy(struct iovec *dst_iov, unsigned int dst_cnt, const struct iovec *iov,
                      unsigned int iov_cnt, size_t offset, size_t bytes)
{
    IovWalk walk = walk_start(iov, iov_cnt, offset, bytes);
    unsigned int used = 0;
    char *base;
    size_t len;

    while (used < dst_cnt && walk_next(&walk, &base, &len)) {
        dst_iov[used++] = (struct iovec){ .iov_base = base, .iov_len = len };
    }
    return used;
}

size_t iov_discard_front(struct iovec **iov, unsigned int *iov_cnt, size_t bytes)
{
    size_t left = bytes;

    while (*iov_cnt && left) {
        struct iovec *first = *iov;

        if (first->iov_len > left) {
            first->iov_base = (char *)first->iov_base + left;
            first->iov_len -= left;
            return bytes;
        }
        left -= first->iov_len;
        (*iov)++;
        (*iov_cnt)--;
    }
    return bytes - left;
}

size_t iov_discard_back(struct iovec *iov, unsigned int *iov_cnt, size_t bytes)
{
    size_t left = bytes;

    while (*iov_cnt && left) {
        struct iovec *last = &iov[*iov_cnt - 1];

        if (last->iov_len > left) {
            last->iov_len -= left;
            return bytes;
        }
        left -= last->iov_len;
        (*iov_cnt)--;
    }
    return bytes - left;
}

void qemu_iovec_init(QEMUIOVector *qiov, int alloc_hint)
{
    *qiov = (QEMUIOVector){
        .iov = alloc_hint > 0 ? g_new(struct iovec, alloc_hint) : NULL,
        .nalloc = MAX(alloc_hint, 0),
    };
}

void qemu_iovec_init_external(QEMUIOVector *qiov, struct iovec *iov, int niov)
{
    *qiov = (QEMUIOVector){
        .iov = iov,
        .niov = niov,
        .nalloc = -1,
        .size = iov_size(iov, niov),
    };
}

void qemu_iovec_init_slice(QEMUIOVector *qiov, const QEMUIOVector *source, size_t offset,
                           size_t len)
{
    qemu_iovec_init(qiov, qemu_iovec_subvec_niov(source, offset, len));
    qemu_iovec_concat(qiov, source, offset, len);
}

void qemu_iovec_add(QEMUIOVector *qiov, void *base, size_t len)
{
    assert(qiov->nalloc != -1);
    if (qiov->niov == qiov->nalloc) {
        qiov->nalloc = 2 * qiov->nalloc + 1;
        qiov->iov = g_renew(struct iovec, qiov->iov, qiov->nalloc);
    }
    qiov->iov[qiov->niov++] = (struct iovec){ .iov_base = base, .iov_len = len };
    qiov->size += len;
}

size_t qemu_iovec_concat_iov(QEMUIOVector *dst, const struct iovec *src_iov, unsigned int src_cnt,
                             size_t offset, size_t bytes)
{
    IovWalk walk = walk_start(src_iov, src_cnt, offset, bytes);
    size_t done = 0;
    char *base;
    size_t len;

    while (walk_next(&walk, &base, &len)) {
        qemu_iovec_add(dst, base, len);
        done += len;
    }
    return done;
}

void qemu_iovec_concat(QEMUIOVector *dst, const QEMUIOVector *src, size_t offset, size_t bytes)
{
    assert(offset <= src->size && bytes <= src->size - offset);
    qemu_iovec_concat_iov(dst, src->iov, src->niov, offset, bytes);
}

struct iovec *qemu_iovec_slice(const QEMUIOVector *qiov, size_t offset, size_t len, size_t *head,
                               size_t *tail, int *niov)
{
    struct iovec *first = qiov->iov;
    struct iovec *last;
    size_t reach;

    assert(offset <= qiov->size && len <= qiov->size - offset);
    if (!len) {
        *head = *tail = 0;
        *niov = 0;
        return first;
    }
    while (offset >= first->iov_len) {
        offset -= first->iov_len;
        first++;
    }
    reach = offset + len;
    last = first;
    while (reach > last->iov_len) {
        reach -= last->iov_len;
        last++;
    }
    *head = offset;
    *tail = last->iov_len - reach;
    *niov = last - first + 1;
    return first;
}

int qemu_iovec_subvec_niov(const QEMUIOVector *qiov, size_t offset, size_t len)
{
    size_t head, tail;
    int niov;

    qemu_iovec_slice(qiov, offset, len, &head, &tail, &niov);
    return niov;
}

bool qemu_iovec_is_zero(const QEMUIOVector *qiov, size_t offset, size_t bytes)
{
    IovWalk walk = walk_start(qiov->iov, qiov->niov, offset, bytes);
    char *base;
    size_t len;

    assert(offset <= qiov->size && bytes <= qiov->size - offset);
    while (walk_next(&walk, &base, &len)) {
        if (!buffer_is_zero(base, len)) {
            return false;
        }
    }
    return true;
}

void qemu_iovec_destroy(QEMUIOVector *qiov)
{
    if (qiov->nalloc != -1) {
        g_free(qiov->iov);
    }
    memset(qiov, 0, sizeof(*qiov));
}

void qemu_iovec_reset(QEMUIOVector *qiov)
{
    assert(qiov->nalloc != -1);
    qiov->niov = 0;
    qiov->size = 0;
}

size_t qemu_iovec_to_buf(const QEMUIOVector *qiov, size_t offset, void *buf, size_t bytes)
{
    return iov_to_buf(qiov->iov, qiov->niov, offset, buf, bytes);
}

size_t qemu_iovec_from_buf(QEMUIOVector *qiov, size_t offset, const void *buf, size_t bytes)
{
    return iov_from_buf(qiov->iov, qiov->niov, offset, buf, bytes);
}

size_t qemu_iovec_memset(QEMUIOVector *qiov, size_t offset, int fill, size_t bytes)
{
    return iov_memset(qiov->iov, qiov->niov, offset, fill, bytes);
}

static size_t first_difference(const char *a, const char *b, size_t len)
{
    size_t i = 0;

    while (a[i] == b[i]) {
        i++;
    }
    assert(i < len);
    return i;
}

ssize_t qemu_iovec_compare(const QEMUIOVector *a, const QEMUIOVector *b)
{
    IovWalk walk_a = walk_start(a->iov, a->niov, 0, a->size);
    IovWalk walk_b = walk_start(b->iov, b->niov, 0, b->size);
    char *base_a = NULL, *base_b = NULL;
    size_t len_a = 0, len_b = 0;
    size_t done = 0;

    assert(a->size == b->size);
    while (done < a->size) {
        if (!len_a) {
            walk_next(&walk_a, &base_a, &len_a);
        }
        if (!len_b) {
            walk_next(&walk_b, &base_b, &len_b);
        }
        size_t len = MIN(len_a, len_b);
        if (memcmp(base_a, base_b, len) != 0) {
            return done + first_difference(base_a, base_b, len);
        }
        base_a += len;
        base_b += len;
        len_a -= len;
        len_b -= len;
        done += len;
    }
    return -1;
}

size_t qemu_iovec_discard_back(QEMUIOVector *qiov, size_t bytes)
{
    unsigned int niov = qiov->niov;
    size_t dropped;

    assert(qiov->nalloc != -1);
    dropped = iov_discard_back(qiov->iov, &niov, bytes);
    qiov->niov = niov;
    qiov->size -= dropped;
    return dropped;
}
