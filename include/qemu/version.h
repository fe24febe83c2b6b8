/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who we are, as told by --version, query-version and the QMP greeting.
 *
 * The three numbers are those of the QEMU release whose interfaces we offer: clients decide by
 * them what they may use.
 */
#ifndef QEMU_VERSION_H
#define QEMU_VERSION_H

#define QEMU_VERSION_MAJOR 10
#define QEMU_VERSION_MINOR 0
#define QEMU_VERSION_MICRO 13
#define QEMU_VERSION "10.0.13"

/* What is behind those interfaces. */
#define QEMU_PACKAGE "e2k block layer"

/* After the program's name in --version. */
#define QEMU_FULL_VERSION QEMU_VERSION " (" QEMU_PACKAGE ")"
#define QEMU_COPYRIGHT "Copyright (c) the project's contributors; GNU GPL version 2 or later"

#endif
