/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "cpu.h"

const E2kAluEntry e2k_alu_fp[] = {
    { NULL, NULL },
};
