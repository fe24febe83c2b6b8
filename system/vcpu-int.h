/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What vcpu.c offers to runstate.c alone.
 */
#ifndef SYSTEM_VCPU_INT_H
#define SYSTEM_VCPU_INT_H

#include "system/vcpu.h"

/** Make the CPU leave run() and stay stopped until vcpu_resume(), without waiting.  Any thread. */
void vcpu_stop_self(VCpu *cpu);

#endif
