/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * check of qcow2 images: it says the same twice and writes nothing; repair of what is sound writes
 * nothing either; what repair calls repaired is sound, and repairing it again changes nothing.
 */
#include "qemu/osdep.h"

#include "qcow2-fuzz.h"

static size_t fuzz_prefix(void)
{
    return 0;
}

#define FIX (BDRV_FIX_LEAKS | BDRV_FIX_ERRORS)

/* Check alone; is there anything to be repaired? */
static bool coroutine_fn co_check_only(void)
{
    g_autoptr(GBytes) before = fuzz_file();
    MemUser *user = fuzz_co_open(BDRV_O_CHECK);
    BdrvCheckResult first, second;
    bool sound;

    if (!user) {
        return false;
    }
    sound = fuzz_co_check(user, 0, &first);
    if (fuzz_co_check(user, 0, &second) != sound || first.leaks != second.leaks ||
        first.corruptions != second.corruptions) {
        abort();
    }
    mem_co_unuse(user);
    fuzz_same_file(before);
    return sound && !first.leaks;
}

/* Returns true if the image is said to be sound now. */
static bool coroutine_fn co_repair(void)
{
    MemUser *user = fuzz_co_open(BDRV_O_RDWR | BDRV_O_CHECK);
    BdrvCheckResult res;
    bool sound;

    if (!user) {
        return false;
    }
    sound = fuzz_co_check(user, FIX, &res);
    mem_co_unuse(user);
    return sound;
}

static void coroutine_fn co_check_and_repair(void)
{
    g_autoptr(GBytes) before = fuzz_file();
    bool is_dirty = before && g_bytes_get_size(before) > 80 &&
                    ((const uint8_t *)g_bytes_get_data(before, NULL))[79] & 3;

    if (co_check_only() && !is_dirty) {
        co_repair();
        fuzz_same_file(before);
    } else if (co_repair()) {
        g_autoptr(GBytes) repaired = fuzz_file();

        if (!co_check_only() || !co_repair()) {
            abort();
        }
        fuzz_same_file(repaired);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_run(data, size, co_check_and_repair);
    return 0;
}
