/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "qemu/osdep.h"

#include "bootinfo.h"
#include "hw/intc/apic.h"
#include "hw/timer/e2k-timer.h"
#include "qemu/bswap.h"

/* ---- the boot-info block --------------------------------------------------------------------- */

enum {
    INFO_SIGNATURE = 0x00,
    INFO_VGA_MODE = 0x06,
    INFO_N_BANKS = 0x07,
    INFO_KERNEL_BASE = 0x08,
    INFO_KERNEL_SIZE = 0x10,
    INFO_INITRD_BASE = 0x18,
    INFO_INITRD_SIZE = 0x20,
    INFO_N_CPUS = 0x28,
    INFO_FLAGS = 0x2a,
    INFO_N_NODES = 0x2e,
    INFO_MP_TABLE = 0x30,
    INFO_SERIAL_BASE = 0x38,
    INFO_NODE_MAP = 0x40,
    INFO_CMDLINE = 0x58,
    INFO_CMDLINE_SIZE = 128,
    INFO_BANKS = 0xd8,
    INFO_BOARD_NAME = 0x520,
    INFO_BOARD_NAME_SIZE = 16,
    INFO_BIOS = 0x538,
    INFO_END_MARK = 0xffe,
};
enum { /* inside of the BIOS part */
    BIOS_VERSION = 0x08,
    BIOS_VERSION_SIZE = 128,
    BIOS_CHIPSET = 0x89,
    BIOS_CPU = 0x8a,
    BIOS_LONG_CMDLINE = 0x8b,
};
#define SIGNATURE 0x8086
#define END_MARK 0xaa55
#define FLAG_SIMULATOR 0x01
#define FLAG_IOHUB 0x04
#define FLAG_MSI 0x20
#define CHIPSET_IOHUB 2

static uint8_t cpu_number(const char *model)
{
    static const struct {
        const char *model;
        uint8_t number;
    } numbers[] = {
        {"e3m", 1}, {"e2c+", 2}, {"e2s", 3}, {"e8c", 7}, {"e1c+", 8}, {"e8c2", 9}, {"e12c", 0xa},
        {"e16c", 0xb}, {"e2c3", 0xc},
    };

    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        if (!strcmp(numbers[i].model, model)) {
            return numbers[i].number;
        }
    }
    return 0;
}

/* Copies as much as fits, and always ends the string. */
static void put_string(uint8_t *at, size_t size, const char *text)
{
    g_strlcpy((char *)at, text, size);
}

void boot_info_fill(const BootInfo *info, uint8_t *block)
{
    uint8_t *bios = block + INFO_BIOS;

    memset(block, 0, BOOT_INFO_SIZE);
    stw_le_p(block + INFO_SIGNATURE, SIGNATURE);
    block[INFO_VGA_MODE] = 3;
    block[INFO_N_BANKS] = info->n_banks;
    stq_le_p(block + INFO_KERNEL_BASE, info->kernel_base);
    stq_le_p(block + INFO_KERNEL_SIZE, info->kernel_size);
    stq_le_p(block + INFO_INITRD_BASE, info->initrd_base);
    stq_le_p(block + INFO_INITRD_SIZE, info->initrd_size);
    stw_le_p(block + INFO_N_CPUS, 1);
    stw_le_p(block + INFO_FLAGS, FLAG_SIMULATOR | FLAG_IOHUB | FLAG_MSI);
    stw_le_p(block + INFO_N_NODES, 1);
    stq_le_p(block + INFO_MP_TABLE, MP_TABLE_ADDR);
    stq_le_p(block + INFO_SERIAL_BASE, info->serial_base);
    stq_le_p(block + INFO_NODE_MAP, 1);
    put_string(block + INFO_CMDLINE, INFO_CMDLINE_SIZE, info->cmdline);
    for (unsigned i = 0; i < info->n_banks; i++) {
        stq_le_p(block + INFO_BANKS + 16 * i, info->banks[i].base);
        stq_le_p(block + INFO_BANKS + 16 * i + 8, info->banks[i].size);
    }
    put_string(block + INFO_BOARD_NAME, INFO_BOARD_NAME_SIZE, "e2k");
    put_string(bios, BIOS_VERSION, "E2KBIOS");
    put_string(bios + BIOS_VERSION, BIOS_VERSION_SIZE, "boot-info block of the emulator");
    bios[BIOS_CHIPSET] = CHIPSET_IOHUB;
    bios[BIOS_CPU] = cpu_number(info->cpu_model);
    put_string(bios + BIOS_LONG_CMDLINE, BOOT_INFO_CMDLINE_MAX + 1, info->cmdline);
    stw_le_p(block + INFO_END_MARK, END_MARK);
}

/* ---- the MP table ---------------------------------------------------------------------------- */

enum { /* entry types */
    MP_CPU = 0, MP_BUS = 1, MP_IO_APIC = 2, MP_INTERRUPT = 3, MP_TIMER = 5,
};
#define FLOATING_SIZE 32
#define HEADER_SIZE 44
#define HEADER_LENGTH 4
#define HEADER_CHECKSUM 7
#define HEADER_COUNT 34
#define IO_APIC_ID 1
#define PCI_BUS_ID 0
#define ISA_BUS_ID 1
#define EDGE_HIGH 0x5 /* polarity 1, trigger 1 */
#define LEVEL_HIGH 0xd /* polarity 1, trigger 3 */

static uint8_t checksum(const uint8_t *bytes, size_t len)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < len; i++) {
        sum += bytes[i];
    }
    return -sum;
}

/* Appends an entry and counts it. */
static uint8_t *add_entry(GByteArray *table, unsigned *count, size_t size)
{
    g_byte_array_set_size(table, table->len + size);
    memset(table->data + table->len - size, 0, size);
    (*count)++;
    return table->data + table->len - size;
}

static void add_bus(GByteArray *table, unsigned *count, uint8_t id, const char *name)
{
    uint8_t *e = add_entry(table, count, 8);

    e[0] = MP_BUS;
    e[1] = id;
    memcpy(e + 2, name, 6);
}

static void add_interrupt(GByteArray *table, unsigned *count, uint16_t flags, uint8_t bus,
                          uint8_t bus_irq, uint8_t pin)
{
    uint8_t *e = add_entry(table, count, 8);

    e[0] = MP_INTERRUPT;
    stw_le_p(e + 2, flags);
    e[4] = bus;
    e[5] = bus_irq;
    e[6] = IO_APIC_ID;
    e[7] = pin;
}

static void add_interrupts(GByteArray *table, unsigned *count)
{
    static const uint8_t pci_pins[4] = {19, 16, 17, 18};

    for (int irq = 0; irq < 16; irq++) {
        add_interrupt(table, count, EDGE_HIGH, ISA_BUS_ID, irq, irq);
    }
    for (int slot = 0; slot < 32; slot++) {
        for (int x = 0; x < 4; x++) {
            add_interrupt(table, count, LEVEL_HIGH, PCI_BUS_ID, slot << 2 | x,
                          pci_pins[(x + slot) % 4]);
        }
    }
}

GByteArray *boot_info_mp_table(void)
{
    GByteArray *table = g_byte_array_new();
    unsigned count = 0;
    uint8_t *e, *header;

    add_entry(table, &count, FLOATING_SIZE + HEADER_SIZE);
    count = 0;
    e = add_entry(table, &count, 20);
    e[0] = MP_CPU;
    e[2] = 0x14;
    e[3] = 3; /* usable, boot processor */
    add_bus(table, &count, PCI_BUS_ID, "PCI   ");
    add_bus(table, &count, ISA_BUS_ID, "ISA   ");
    e = add_entry(table, &count, 16);
    e[0] = MP_IO_APIC;
    e[1] = IO_APIC_ID;
    e[2] = 0x20;
    e[3] = 1;
    stq_le_p(e + 8, IO_APIC_BASE);
    add_interrupts(table, &count);
    e = add_entry(table, &count, 16);
    e[0] = MP_TIMER;
    e[3] = 1;
    stq_le_p(e + 8, E2K_TIMER_BASE);

    memcpy(table->data, "_MP_", 4);
    stq_le_p(table->data + 8, MP_TABLE_ADDR + FLOATING_SIZE);
    table->data[16] = FLOATING_SIZE / 16;
    table->data[17] = 4;
    table->data[18] = checksum(table->data, FLOATING_SIZE);
    header = table->data + FLOATING_SIZE;
    memcpy(header, "PCMP", 4);
    stw_le_p(header + HEADER_LENGTH, table->len - FLOATING_SIZE);
    header[6] = 4;
    memcpy(header + 8, "MCST    E2K MACHINE ", 20);
    stw_le_p(header + HEADER_COUNT, count);
    stl_le_p(header + 36, LOCAL_APIC_BASE);
    header[HEADER_CHECKSUM] = checksum(header, table->len - FLOATING_SIZE);
    return table;
}
