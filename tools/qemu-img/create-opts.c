/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Options of image creation, which create and convert have in common. */
#include "qemu/osdep.h"

#include "create-opts.h"

QemuOptsList *img_create_options_list(const BlockDriver *drv, const BlockDriver *proto)
{
    QemuOptsList *list = qemu_opts_append(NULL, bdrv_create_opts(drv));
    if (proto && bdrv_create_opts(proto)) {
        list = qemu_opts_append(list, bdrv_create_opts(proto));
    }
    return list;
}

bool img_create_is_encrypted(const char *format, const QemuOpts *opts)
{
    return strcmp(format, "luks") == 0 || qemu_opt_get_bool(opts, "encryption", false) ||
           qemu_opt_is_set(opts, "encrypt.format");
}

int img_print_create_options(const char *format, const char *filename)
{
    BlockDriver *drv = bdrv_find_format(format), *proto = NULL;
    Error *local_err = NULL;
    if (!drv) {
        error_report("Unknown file format '%s'", format);
        return 1;
    }
    if (!bdrv_create_opts(drv)) {
        error_report("Format driver '%s' does not support image creation", format);
        return 1;
    }
    if (filename) {
        proto = bdrv_find_protocol(filename, true, &local_err);
        if (!proto) {
            error_report_err(local_err);
            return 1;
        }
    }
    QemuOptsList *list = img_create_options_list(drv, proto);
    g_autoptr(GString) text = g_string_new(NULL);
    qemu_opts_print_help(list, filename ? NULL : format, text);
    qemu_opts_free(list);
    if (!filename) {
        g_string_append(text, "\nThe protocol level may support further options.\n"
                              "Specify the target filename to include those options.\n");
    }
    fputs(text->str, stdout);
    return 0;
}

bool img_create_makes_place(const BlockDriver *proto, const QemuOpts *opts)
{
    const char *data_file = qemu_opt_get(opts, "data_file");
    BlockDriver *data_proto = data_file ? bdrv_find_protocol(data_file, true, NULL) : NULL;

    return bdrv_create_opts(proto) && (!data_file || (data_proto && bdrv_create_opts(data_proto)));
}
