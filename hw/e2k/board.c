/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The "e2k" machine: one CPU, memory, interrupt controllers, timer, PCI with an ISA bridge. */
#include "qemu/osdep.h"

#include "bootinfo.h"
#include "hw/e2k/board.h"
#include "hw/intc/apic.h"
#include "hw/timer/e2k-timer.h"
#include "iohub.h"
#include "qemu/error.h"
#include "system/loader.h"
#include "system/qtest.h"
#include "target/e2k.h"

#define LOW_RAM_MAX (2 * GiB)
#define HIGH_RAM_BASE UINT64_C(0x400000000)
#define HIGH_RAM_MAX (UINT64_C(0x10000000000) - HIGH_RAM_BASE) /* 40 address bits */
#define ROM_BASE UINT64_C(0x100000000)
#define ROM_SIZE (16 * MiB)
#define PORTS_BASE UINT64_C(0x101000000)
#define PORTS_SIZE (64 * KiB)
#define PCI_WINDOW_BASE UINT64_C(0x80000000)
#define PCI_WINDOW_SIZE (2028 * MiB)
#define PCI_PREFETCH_BASE UINT64_C(0x210000000)
#define PCI_PREFETCH_SIZE (7936 * MiB)
#define ECAM_BASE UINT64_C(0x200000000)
#define ECAM_SIZE (256 * MiB)
#define SERIAL_PORT 0x3f8
#define TIMER_PIN 2

#define KERNEL_RAW_BASE UINT64_C(0x01000000)
#define PROC_STACK_BASE UINT64_C(0x00f00000)
#define CHAIN_STACK_BASE UINT64_C(0x00f40000)
#define USER_STACK_TOP UINT64_C(0x00fc0000)
#define STACK_SIZE UINT64_C(0x40000)
#define CHAIN_FRAME_SIZE 32
#define ELF_MACHINE_E2K 175

typedef struct Board {
    PciBus pci;
    LocalApic *local_apic;
    bool has_kernel;
    VCpuEntry entry;
} Board;

/* ---- building -------------------------------------------------------------------------------- */

static bool build_memory(Machine *machine, Error **errp)
{
    MemoryMap *map = memory_map_new("memory", false);
    uint64_t low = MIN(machine->ram_size, (uint64_t)LOW_RAM_MAX);

    machine->memory = map;
    machine->ports = memory_map_new("ports", true);
    if (!memory_add_ram(map, "ram-low", 0, low, false, errp) ||
        !memory_add_ram(map, "rom", ROM_BASE, ROM_SIZE, true, errp)) {
        return false;
    }
    if (machine->ram_size > low &&
        !memory_add_ram(map, "ram-high", HIGH_RAM_BASE, machine->ram_size - low, false, errp)) {
        return false;
    }
    memory_add_window(map, "ports", PORTS_BASE, PORTS_SIZE, machine->ports, 0);
    return true;
}

static void msi_to_apic(void *opaque, hwaddr addr, uint32_t data)
{
    local_apic_msi(opaque, addr, data);
}

static void add_qtest_irqs(IoApic *io_apic)
{
    IrqLine *lines[IO_APIC_N_PINS];

    for (int i = 0; i < IO_APIC_N_PINS; i++) {
        lines[i] = io_apic_pin(io_apic, i);
    }
    qtest_add_irqs("ioapic", lines, IO_APIC_N_PINS);
}

static void build_devices(Machine *machine, Board *board)
{
    /* Line n of the PCI bus -> pin 15 + n, but for line 0. */
    static const int intx_pins[4] = {19, 16, 17, 18};
    PciBusConfig pci = {
        .memory = machine->memory,
        .ports = machine->ports,
        .ecam_base = ECAM_BASE,
        .ecam_size = ECAM_SIZE,
        .msi = msi_to_apic,
    };
    IrqLine *isa_irqs[ISA_N_IRQS];
    IoApic *io_apic;

    board->local_apic = local_apic_create(machine->memory);
    io_apic = io_apic_create(machine->memory, board->local_apic);
    e2k_timer_create(machine->memory, io_apic_pin(io_apic, TIMER_PIN));
    for (int i = 0; i < 4; i++) {
        pci.intx[i] = io_apic_pin(io_apic, intx_pins[i]);
    }
    for (int i = 0; i < ISA_N_IRQS; i++) {
        isa_irqs[i] = io_apic_pin(io_apic, i);
    }
    if (qtest_enabled()) {
        add_qtest_irqs(io_apic);
    }
    pci.msi_opaque = board->local_apic;
    pci_bus_init(&board->pci, "pci.0", &pci);
    memory_add_window(machine->memory, "pci-window", PCI_WINDOW_BASE, PCI_WINDOW_SIZE,
                      board->pci.mem, PCI_WINDOW_BASE);
    memory_add_window(machine->memory, "pci-prefetch-window", PCI_PREFETCH_BASE,
                      PCI_PREFETCH_SIZE, board->pci.mem, PCI_PREFETCH_BASE);
    iohub_create(&board->pci, machine->ports, isa_irqs);
}

static bool e2k_build(Machine *machine, Error **errp)
{
    Board *board = g_new0(Board, 1);

    machine->board = board;
    if (!build_memory(machine, errp)) {
        return false;
    }
    build_devices(machine, board);
    if (machine->has_cpu) {
        machine->cpu = e2k_cpu_type.create(machine->cpu_model, machine->cpu_features,
                                           machine->memory, errp);
        if (!machine->cpu) {
            return false;
        }
        local_apic_set_cpu(board->local_apic, machine->cpu);
    }
    return true;
}

static void e2k_done(Machine *machine)
{
    Board *board = machine->board;

    if (board && board->pci.mem) {
        pci_bus_done(&board->pci);
    }
}

/* ---- loading --------------------------------------------------------------------------------- */

static bool load_initrd(Machine *machine, BootInfo *info, Error **errp)
{
    uint64_t low = MIN(machine->ram_size, (uint64_t)LOW_RAM_MAX);
    LoadedImage image;
    struct stat st;

    if (stat(machine->initrd, &st) < 0) {
        error_setg_errno(errp, errno, "could not load '%s'", machine->initrd);
        return false;
    }
    if (st.st_size < 0 || (uint64_t)st.st_size > low) {
        error_setg(errp, "could not load '%s': too large", machine->initrd);
        return false;
    }
    /* As high as possible: kernels grow upwards. */
    info->initrd_base = QEMU_ALIGN_DOWN(low - st.st_size, (uint64_t)MEM_PAGE_SIZE);
    if (!loader_add_raw(machine->memory, machine->initrd, info->initrd_base,
                        low - info->initrd_base, &image, errp)) {
        return false;
    }
    info->initrd_size = image.high - image.low;
    return true;
}

static bool add_boot_info(Machine *machine, const BootInfo *info, Error **errp)
{
    static const uint8_t first_frame[CHAIN_FRAME_SIZE];
    g_autofree uint8_t *block = g_malloc(BOOT_INFO_SIZE);
    g_autoptr(GByteArray) mp_table = boot_info_mp_table();

    boot_info_fill(info, block);
    return loader_add_bytes(machine->memory, "boot-info block", BOOT_INFO_ADDR, block,
                            BOOT_INFO_SIZE, errp) &&
           loader_add_bytes(machine->memory, "MP table", MP_TABLE_ADDR, mp_table->data,
                            mp_table->len, errp) &&
           loader_add_bytes(machine->memory, "first chain frame", CHAIN_STACK_BASE, first_frame,
                            sizeof(first_frame), errp);
}

static bool load_kernel(Machine *machine, Error **errp)
{
    Board *board = machine->board;
    const char *cmdline = machine->append ? machine->append : "";
    BootInfo info = {
        .cmdline = cmdline,
        .cpu_model = machine->cpu_model,
        .serial_base = PORTS_BASE + SERIAL_PORT,
        .n_banks = machine->ram_size > LOW_RAM_MAX ? 2 : 1,
        .banks = {
            {0, MIN(machine->ram_size, (uint64_t)LOW_RAM_MAX)},
            {HIGH_RAM_BASE, machine->ram_size - MIN(machine->ram_size, (uint64_t)LOW_RAM_MAX)},
        },
    };
    LoadedImage image;
    bool is_elf;

    if (strlen(cmdline) > BOOT_INFO_CMDLINE_MAX) {
        error_setg(errp, "kernel command line is longer than %d bytes", BOOT_INFO_CMDLINE_MAX);
        return false;
    }
    if (!loader_is_elf(machine->kernel, &is_elf, errp) ||
        !(is_elf ? loader_add_elf(machine->memory, machine->kernel, ELF_MACHINE_E2K, &image, errp)
                 : loader_add_raw(machine->memory, machine->kernel, KERNEL_RAW_BASE,
                                  LOW_RAM_MAX, &image, errp))) {
        return false;
    }
    info.kernel_base = image.low;
    info.kernel_size = image.high - image.low;
    if (machine->initrd && !load_initrd(machine, &info, errp)) {
        return false;
    }
    board->has_kernel = true;
    board->entry = (VCpuEntry) {
        .pc = image.entry,
        .image_base = QEMU_ALIGN_DOWN(image.low, (hwaddr)MEM_PAGE_SIZE),
        .proc_stack = PROC_STACK_BASE,
        .proc_stack_size = STACK_SIZE,
        .chain_stack = CHAIN_STACK_BASE,
        .chain_stack_size = STACK_SIZE,
        .user_stack_top = USER_STACK_TOP,
        .user_stack_size = STACK_SIZE,
        .boot_info = BOOT_INFO_ADDR,
    };
    return add_boot_info(machine, &info, errp);
}

static bool e2k_load(Machine *machine, Error **errp)
{
    LoadedImage image;

    if (machine->bios &&
        !loader_add_raw(machine->memory, machine->bios, ROM_BASE, ROM_SIZE, &image, errp)) {
        return false;
    }
    if (!machine->kernel) {
        if (machine->append || machine->initrd) {
            error_setg(errp, "-append and -initrd only allowed with -kernel option");
            return false;
        }
        return true;
    }
    return load_kernel(machine, errp);
}

static void e2k_reset(Machine *machine)
{
    Board *board = machine->board;

    pci_bus_reset(&board->pci);
    if (machine->cpu && board->has_kernel) {
        machine->cpu->ops->set_entry(machine->cpu, &board->entry);
    }
}

static void e2k_add_state(Machine *machine, VmStateParts *parts)
{
    pci_bus_add_state(&((Board *)machine->board)->pci, parts);
}

char *board_describe_pci(const Machine *machine)
{
    GString *out;

    if (machine->type != &e2k_machine_type) {
        return NULL;
    }
    out = g_string_new(NULL);
    pci_describe(&((Board *)machine->board)->pci, out);
    return g_string_free(out, false);
}

const MachineType e2k_machine_type = {
    .name = "e2k",
    .description = "Generic E2K Machine",
    .is_default = true,
    .default_ram_size = 128 * MiB,
    .max_ram_size = LOW_RAM_MAX + HIGH_RAM_MAX,
    .cpu_type = &e2k_cpu_type,
    .build = e2k_build,
    .done = e2k_done,
    .load = e2k_load,
    .reset = e2k_reset,
    .add_state = e2k_add_state,
};

/* ---- the machine that is none ---------------------------------------------------------------- */

static bool none_build(Machine *machine, Error **errp)
{
    machine->memory = memory_map_new("memory", false);
    machine->ports = memory_map_new("ports", true);
    return true;
}

static bool none_load(Machine *machine, Error **errp)
{
    if (machine->kernel || machine->bios || machine->initrd || machine->append) {
        error_setg(errp, "machine 'none' has no memory to load anything into");
        return false;
    }
    return true;
}

const MachineType none_machine_type = {
    .name = "none",
    .description = "empty machine",
    .build = none_build,
    .load = none_load,
};
