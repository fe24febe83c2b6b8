/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which drivers may be used at all.  Whoever builds a package may list them (configure
 * --block-drv-rw-whitelist, --block-drv-ro-whitelist); without a list all may be.
 */
#include "qemu/osdep.h"

#include "core-int.h"
#include "options.h"

static const char *const *whitelist_rw, *const *whitelist_ro;
static bool uses_whitelist;

void bdrv_set_whitelist(const char *const *rw, const char *const *ro)
{
    whitelist_rw = rw && *rw ? rw : NULL;
    whitelist_ro = ro && *ro ? ro : NULL;
}

void bdrv_use_whitelist(void)
{
    uses_whitelist = true;
}

bool bdrv_uses_whitelist(void)
{
    return uses_whitelist;
}

static bool is_listed(const char *const *list, const BlockDriver *drv)
{
    return list && g_strv_contains(list, drv->format_name);
}

bool bdrv_is_whitelisted(const BlockDriver *drv, bool read_only)
{
    return (!whitelist_rw && !whitelist_ro) || is_listed(whitelist_rw, drv) ||
           (read_only && is_listed(whitelist_ro, drv));
}

bool whitelist_apply(const BlockDriver *drv, BlockdevOptions *options, Error **errp)
{
    if (bdrv_is_whitelisted(drv, options->read_only)) {
        return true;
    }
    if (!bdrv_is_whitelisted(drv, true)) {
        error_setg(errp, "Driver '%s' is not whitelisted", drv->format_name);
        return false;
    }
    if (!options->auto_read_only) {
        error_setg(errp, "Driver '%s' can only be used for read-only devices", drv->format_name);
        return false;
    }
    options->read_only = true;
    return true;
}
