/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The interrupt controllers: the CPU's local APIC and the I/O APIC.
 *
 * The e2k local APIC has a register that the PC's has not, 0xff0: reading it accepts the highest
 * deliverable interrupt and gives its vector.  All calls: machine lock held.
 */
#ifndef HW_INTC_APIC_H
#define HW_INTC_APIC_H

#include "system/device.h"
#include "system/irq.h"
#include "system/memory.h"
#include "system/vcpu.h"

#define LOCAL_APIC_BASE UINT64_C(0xfee00000)
#define LOCAL_APIC_SIZE 0x1000
#define IO_APIC_BASE UINT64_C(0xfec00000)
#define IO_APIC_SIZE 0x1000
#define IO_APIC_N_PINS 24

/* Message-signalled interrupts go to this range. */
#define MSI_ADDR_BASE UINT64_C(0xfee00000)
#define MSI_ADDR_SIZE UINT64_C(0x100000)

typedef struct LocalApic LocalApic;
typedef struct IoApic IoApic;

/* An interrupt on its way to a CPU. */
typedef struct ApicMessage {
    uint8_t vector;
    uint8_t delivery_mode; /* 0 fixed, 1 lowest priority, 2 SMI, 4 NMI, 5 INIT, 7 ExtINT */
    uint8_t dest;
    bool dest_logical;
    bool level_triggered;
} ApicMessage;

extern const DeviceType local_apic_type;
extern const DeviceType io_apic_type;

/** Create and realize the controllers at their addresses in @map; owned by the device tree. */
LocalApic *local_apic_create(MemoryMap *map);
IoApic *io_apic_create(MemoryMap *map, LocalApic *local);

/** Say whose interrupt input the local APIC drives; NULL is allowed. */
void local_apic_set_cpu(LocalApic *apic, VCpu *cpu);

/** Deliver @message if it is addressed to this APIC. */
void local_apic_deliver(LocalApic *apic, const ApicMessage *message);

/** Deliver what a device's write of @data to @addr means. */
void local_apic_msi(LocalApic *apic, hwaddr addr, uint32_t data);

/** The line of pin @n. */
IrqLine *io_apic_pin(IoApic *ioapic, int n);

/** A level-triggered vector was finished by the CPU. */
void io_apic_eoi(IoApic *ioapic, uint8_t vector);

/** Whom to tell of finished level-triggered vectors. */
void local_apic_set_io_apic(LocalApic *apic, IoApic *ioapic);

#endif
