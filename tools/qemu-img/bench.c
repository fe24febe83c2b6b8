/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemu-img bench: how long does a run of equal requests take? */
#include "qemu/osdep.h"

#include <getopt.h>
#include <limits.h>

#include "block/coroutine.h"
#include "qemu-img.h"
#include "qemu/co-lock.h"
#include "qemu/memalign.h"
#include "qemu/timer.h"

typedef struct BenchOptions {
    bool quiet, image_opts, force_share, write, native, no_drain;
    const char *format, *cache, *aio;
    const char *count, *depth, *offset, *size, *step, *pattern, *flush_interval;
} BenchOptions;

#define OPT(field) offsetof(BenchOptions, field)

static const ImgOption bench_options[] = {
    { 'c', "count", IMG_STRING, OPT(count), "COUNT", "number of requests (default: 75000)" },
    { 'd', "depth", IMG_STRING, OPT(depth), "DEPTH", "requests in flight (default: 64)" },
    { 's', "buffer-size", IMG_STRING, OPT(size), "SIZE", "bytes of a request (default: 4k)" },
    { 'S', "step-size", IMG_STRING, OPT(step), "SIZE",
      "from the start of one to the next (default: as -s)" },
    { 'o', "offset", IMG_STRING, OPT(offset), "OFFSET", "of the first one (default: 0)" },
    { 'w', "write", IMG_FLAG, OPT(write), NULL, "write instead of reading" },
    { 0, "pattern", IMG_STRING, OPT(pattern), "BYTE", "byte to write (default: 0)" },
    { 0, "flush-interval", IMG_STRING, OPT(flush_interval), "N",
      "with -w: flush after every N requests" },
    { 0, "no-drain", IMG_FLAG, OPT(no_drain), NULL,
      "with --flush-interval: do not wait for the requests before the flush" },
    { 'i', "aio", IMG_STRING, OPT(aio), "AIO", "threads, native or io_uring" },
    { 'n', "native", IMG_FLAG, OPT(native), NULL, "as --aio=native" },
    { 't', "cache", IMG_STRING, OPT(cache), "CACHE", "cache mode (default: writeback)" },
    IMG_OPT_QUIET(BenchOptions),
    IMG_OPT_FORMAT(BenchOptions),
    IMG_OPT_FORCE_SHARE(BenchOptions),
    IMG_OPT_IMAGE_OPTS(BenchOptions),
    IMG_OPT_OBJECT,
    { 0 },
};

typedef struct Bench {
    bool write, drain;
    int pattern;
    ImgBackend *image;
    int64_t image_bytes;
    int64_t count, depth, size, step, flush_interval;

    int64_t offset;         /* of the next request */
    int64_t started;        /* requests */
    int64_t in_flight;      /* requests, not flushes */
    bool draining;          /* no request may start: one worker is to flush after those in flight */
    int64_t running;        /* workers */
    int ret;                /* first error */
    Coroutine *waiter;      /* for all workers to end */
    Coroutine *idle_waiter; /* the worker that flushes, for in_flight to be 0 */
    CoQueue after_drain;
} Bench;

/* ---- the run --------------------------------------------------------------------------------- */

static void note_error(Bench *b, int ret, const char *what)
{
    if (ret < 0 && b->ret >= 0) {
        error_report("Failed %s request: %s", what, g_strerror(-ret));
        b->ret = ret;
    }
}

static void coroutine_fn co_flush(Bench *b)
{
    if (b->drain && b->in_flight > 0) {
        b->idle_waiter = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
    note_error(b, blk_co_flush(b->image), "flush");
    if (b->drain) {
        b->draining = false;
        qemu_co_queue_restart_all(&b->after_drain);
    }
}

static void coroutine_fn co_one_request(Bench *b, uint8_t *buf)
{
    int64_t offset = b->offset;
    int ret;
    b->offset += b->step;
    if (b->offset > b->image_bytes - b->size) {
        b->offset = 0;
    }
    b->in_flight++;
    if (b->write) {
        ret = blk_co_pwrite(b->image, offset, b->size, buf, 0);
    } else {
        ret = blk_co_pread(b->image, offset, b->size, buf, 0);
    }
    note_error(b, ret, b->write ? "write" : "read");
    if (--b->in_flight == 0 && b->idle_waiter) {
        aio_co_wake(g_steal_pointer(&b->idle_waiter));
    }
}

static void coroutine_fn co_send_requests(Bench *b, uint8_t *buf)
{
    while (b->ret >= 0 && b->started < b->count) {
        if (b->draining) {
            qemu_co_queue_wait(&b->after_drain, NULL);
            continue;
        }
        b->started++;
        bool flush = b->flush_interval && b->started % b->flush_interval == 0;
        b->draining = flush && b->drain;
        co_one_request(b, buf);
        if (flush) {
            co_flush(b);
        }
    }
}

static void coroutine_fn co_work(void *opaque)
{
    Bench *b = opaque;
    uint8_t *buf = blk_try_blockalign(b->image, b->size);
    if (buf) {
        memset(buf, b->pattern, b->size);
        co_send_requests(b, buf);
        qemu_vfree(buf);
    } else {
        note_error(b, -ENOMEM, b->write ? "write" : "read");
    }
    if (--b->running == 0 && b->waiter) {
        aio_co_wake(b->waiter);
    }
}

static void coroutine_fn co_run_workers(Bench *b)
{
    int64_t n = MIN(b->depth, b->count);
    qemu_co_queue_init(&b->after_drain);
    b->running = n;
    for (int64_t i = 0; i < n; i++) {
        qemu_coroutine_enter(qemu_coroutine_create(co_work, b));
    }
    if (b->running > 0) {
        b->waiter = qemu_coroutine_self();
        qemu_coroutine_yield();
    }
}

static int coroutine_fn co_bench(Bench *b, bool quiet)
{
    if (b->image_bytes < b->size || b->offset > b->image_bytes - b->size) {
        error_report("A request of %" PRId64 " bytes at offset %" PRId64 " does not fit into the "
                     "image of %" PRId64 " bytes", b->size, b->offset, b->image_bytes);
        return 1;
    }
    if (!quiet) {
        printf("Sending %" PRId64 " %s requests, %" PRId64 " bytes each, %" PRId64 " in parallel "
               "(starting at offset %" PRId64 ", step size %" PRId64 ")\n", b->count,
               b->write ? "write" : "read", b->size, b->depth, b->offset, b->step);
        if (b->flush_interval) {
            printf("Sending flush every %" PRId64 " %srequests\n", b->flush_interval,
                   b->drain ? "" : "undrained ");
        }
        fflush(stdout);
    }
    int64_t start = qemu_clock_get_ns(QEMU_CLOCK_REALTIME);
    co_run_workers(b);
    int64_t ns = qemu_clock_get_ns(QEMU_CLOCK_REALTIME) - start;
    if (b->ret < 0) {
        return 1;
    }
    if (!quiet) {
        printf("Run completed in %3.3f seconds.\n", ns / 1e9);
    }
    return 0;
}

/* ---- options --------------------------------------------------------------------------------- */

static bool parse_numbers(const BenchOptions *opts, Bench *b)
{
    const struct {
        const char *what, *value;
        int64_t min, max, *result;
    } numbers[] = {
        { "request count", opts->count, 1, INT_MAX, &b->count },
        { "queue depth", opts->depth, 1, INT_MAX, &b->depth },
        { "buffer size", opts->size, 1, INT_MAX, &b->size },
        { "step size", opts->step, 0, INT_MAX, &b->step },
        { "offset", opts->offset, 0, INT64_MAX, &b->offset },
        { "flush interval", opts->flush_interval, 0, INT_MAX, &b->flush_interval },
    };
    int64_t pattern = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
        if (numbers[i].value && !img_parse_size(numbers[i].what, numbers[i].value, numbers[i].min,
                                                numbers[i].max, numbers[i].result)) {
            return false;
        }
    }
    if (opts->pattern && !img_parse_size("pattern byte", opts->pattern, 0, 255, &pattern)) {
        return false;
    }
    b->pattern = pattern;
    b->step = b->step ? b->step : b->size;
    if (b->flush_interval && !b->write) {
        error_report("--flush-interval is only available in write tests");
        return false;
    }
    return true;
}

static bool parse_modes(const BenchOptions *opts, ImgOpen *how)
{
    const char *aio = opts->aio ? opts->aio : opts->native ? "native" : "threads";
    if (opts->native && strcmp(aio, "native") != 0) {
        error_report("--native and --aio=%s contradict each other", aio);
        return false;
    }
    if (!bdrv_parse_aio(aio, &how->flags)) {
        error_report("Invalid aio option: %s", aio);
        return false;
    }
    return img_parse_cache(how, "cache", opts->cache ? opts->cache : "writeback");
}

static int coroutine_fn co_run_bench(int argc, char **argv)
{
    BenchOptions opts = { 0 };
    int status;
    if (!img_parse(&img_bench, &opts, argc, argv, &status)) {
        return status;
    }
    Bench b = {
        .write = opts.write,
        .drain = !opts.no_drain,
        .count = 75000,
        .depth = 64,
        .size = 4096,
    };
    ImgOpen how = {
        .format = opts.format,
        .image_opts = opts.image_opts,
        .force_share = opts.force_share,
        .flags = opts.write ? BDRV_O_RDWR : 0,
    };
    if (!parse_numbers(&opts, &b) || !parse_modes(&opts, &how)) {
        return 1;
    }
    if (optind != argc - 1) {
        return img_usage_error(&img_bench, "Expecting one image file name");
    }
    how.filename = argv[optind];
    g_autoptr(ImgBackend) image = img_co_open(&how);
    if (!image) {
        return 1;
    }
    b.image = image;
    b.image_bytes = blk_co_getlength(image);
    if (b.image_bytes < 0) {
        error_report("Failed to get size for '%s'", how.filename);
        return 1;
    }
    return co_bench(&b, opts.quiet);
}

const ImgCommand img_bench = {
    .name = "bench",
    .arguments = "FILE",
    .summary = "Send COUNT equal requests, DEPTH at a time, and tell how long that takes.\n"
               "With -w, FILE's content is overwritten.",
    .options = bench_options,
    .co_run = co_run_bench,
};
