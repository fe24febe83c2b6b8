/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * PCI: configuration space, BARs, INTx, MSI-X, places on the bus.
 */
#include "qemu/osdep.h"

#include "../../lib/testlib.h"
#include "hw/pci/pci.h"
#include "qemu/error.h"
#include "qemu/main-loop.h"

#define ECAM UINT64_C(0x200000000)
#define WINDOW 0x80000000u
#define PORT_BAR 0
#define MEM_BAR 2
#define MSIX_BAR 1
#define N_VECTORS 3
#define N_RANDOM 20000

static MemoryMap *memory, *ports;
static PciBus bus;
static IrqLine *lines[4];
static bool levels[4];
static GString *msi_log;

static uint64_t reg_read(void *opaque, hwaddr offset, unsigned size)
{
    return 0x1000 + offset;
}

static void reg_write(void *opaque, hwaddr offset, uint64_t value, unsigned size)
{
}

static const MemoryOps reg_ops = {.read = reg_read, .write = reg_write};

static bool card_realize(PciDevice *dev, Error **errp)
{
    pci_register_bar(dev, PORT_BAR, PCI_BAR_IO, 16, &reg_ops, dev);
    pci_register_bar(dev, MEM_BAR, PCI_BAR_MEM64, 0x4000, &reg_ops, dev);
    pci_msix_init(dev, N_VECTORS, MSIX_BAR);
    return true;
}

static const PciClass card_class = {
    .vendor_id = 0x1234, .device_id = 0x5678, .class_code = 0x010802, .interrupt_pin = 1,
    .realize = card_realize,
};
static const DeviceType card_type = {
    .name = "card", .bus = PCI_BUS_TYPE_NAME, .user_creatable = true, .hotpluggable = true,
    .category = DEVICE_CATEGORY_MISC,
    .instance_size = sizeof(PciDevice),
    .properties = (const DevicePropertyTable[]) {{NULL, pci_props}, {0}},
    .bus_class = &card_class,
    .realize = pci_device_realize, .unrealize = pci_device_unrealize, .reset = pci_device_reset,
};

static void set_level(void *opaque, int n, bool level)
{
    levels[n] = level;
}

static void log_msi(void *opaque, hwaddr addr, uint32_t data)
{
    g_string_append_printf(msi_log, "%" PRIx64 "=%x ", addr, data);
}

static PciDevice *add_card(const char *addr, Error **errp)
{
    Device *dev = device_new(&card_type);

    g_assert_true(device_set(dev, "addr", addr, &error_abort));
    if (!device_realize(dev, &bus.bus, errp)) {
        device_free(dev);
        return NULL;
    }
    return (PciDevice *)dev;
}

static hwaddr config(int devfn, unsigned reg)
{
    return ECAM + (devfn << 12) + reg;
}

static uint32_t load(hwaddr addr, unsigned size)
{
    uint64_t value;

    mem_load(memory, addr, size, &value);
    return value;
}

static void store(hwaddr addr, unsigned size, uint64_t value)
{
    g_assert_cmpint(mem_store(memory, addr, size, value), ==, MEM_OK);
}

static void port_store(unsigned port, unsigned size, uint32_t value)
{
    mem_store(ports, port, size, value);
}

static void test_config_by_both_ways(void)
{
    PciDevice *card = add_card("4", &error_abort);
    uint64_t value;

    g_assert_cmphex(load(config(card->devfn, 0), 4), ==, 0x56781234);
    g_assert_cmphex(load(config(card->devfn, 8), 4), ==, 0x01080200);
    g_assert_cmphex(load(config(card->devfn, 2), 2), ==, 0x5678);
    g_assert_cmphex(load(config(PCI_DEVFN(5, 0), 0), 4), ==, UINT32_MAX);
    g_assert_cmphex(load(config(card->devfn, 0x400), 4), ==, 0);
    port_store(0xcf8, 4, 0x80000000 | card->devfn << 8);
    mem_load(ports, 0xcfc + 2, 2, &value);
    g_assert_cmphex(value, ==, 0x5678);
    port_store(0xcf8, 4, 0x80000000 | 1 << 16);
    mem_load(ports, 0xcfc, 4, &value);
    g_assert_cmphex(value, ==, UINT32_MAX);
    port_store(0xcf8, 4, card->devfn << 8);
    mem_load(ports, 0xcfc, 4, &value);
    g_assert_cmphex(value, ==, UINT32_MAX);
    store(config(card->devfn, 0), 4, 0);
    g_assert_cmphex(load(config(card->devfn, 0), 4), ==, 0x56781234);
    device_free(&card->dev);
}

static void test_bar_sizing_and_mapping(void)
{
    PciDevice *card = add_card("4", &error_abort);
    unsigned bar = PCI_BASE_ADDRESS_0 + 4 * MEM_BAR;

    store(config(card->devfn, PCI_COMMAND), 2, PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
    store(config(card->devfn, bar), 4, UINT32_MAX);
    store(config(card->devfn, bar + 4), 4, UINT32_MAX);
    g_assert_cmphex(load(config(card->devfn, bar), 4), ==, 0xffffc00c);
    g_assert_cmphex(load(config(card->devfn, bar + 4), 4), ==, UINT32_MAX);
    store(config(card->devfn, bar), 4, WINDOW + 0x8000);
    store(config(card->devfn, bar + 4), 4, 0);
    g_assert_cmphex(load(WINDOW + 0x8004, 2), ==, 0x1004);
    store(config(card->devfn, bar), 4, WINDOW + 0x10000);
    g_assert_cmphex(load(WINDOW + 0x8004, 2), ==, 0xffff);
    g_assert_cmphex(load(WINDOW + 0x10004, 2), ==, 0x1004);
    store(config(card->devfn, PCI_BASE_ADDRESS_0), 4, 0xc000);
    g_assert_cmphex(load(config(card->devfn, PCI_BASE_ADDRESS_0), 4), ==, 0xc001);
    store(config(card->devfn, PCI_COMMAND), 2, 0);
    g_assert_cmphex(load(WINDOW + 0x10004, 2), ==, 0xffff);
    device_reset_all();
    g_assert_cmphex(load(config(card->devfn, bar), 4), ==, 0xc);
    device_free(&card->dev);
    g_assert_cmphex(load(WINDOW + 0x10004, 2), ==, 0xffff);
}

static void test_intx_routing_and_sharing(void)
{
    PciDevice *a = add_card("5", &error_abort); /* slot 5, INTA -> line 1 */
    PciDevice *b = add_card("9", &error_abort);

    pci_set_irq(a, true);
    g_assert_true(levels[1] && !levels[0] && !levels[2] && !levels[3]);
    pci_set_irq(b, true);
    pci_set_irq(a, false);
    g_assert_true(levels[1]);
    g_assert_cmphex(load(config(b->devfn, PCI_STATUS), 2) & PCI_STATUS_INTERRUPT, !=, 0);
    store(config(b->devfn, PCI_COMMAND), 2, PCI_COMMAND_INTX_DISABLE);
    g_assert_false(levels[1]);
    store(config(b->devfn, PCI_COMMAND), 2, 0);
    g_assert_true(levels[1]);
    device_free(&b->dev);
    g_assert_false(levels[1]);
    device_free(&a->dev);
}

static void test_msix(void)
{
    PciDevice *card = add_card("4", &error_abort);
    unsigned cap = load(config(card->devfn, PCI_CAPABILITY_LIST), 1);
    hwaddr entry = WINDOW + 16;

    g_assert_cmphex(load(config(card->devfn, cap), 1), ==, PCI_CAP_ID_MSIX);
    g_assert_cmphex(load(config(card->devfn, cap + 2), 2), ==, N_VECTORS - 1);
    store(config(card->devfn, PCI_BASE_ADDRESS_0 + 4 * MSIX_BAR), 4, WINDOW);
    store(config(card->devfn, PCI_COMMAND), 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    store(entry, 4, 0xfee00000);
    store(entry + 8, 4, 0x41);
    pci_msix_notify(card, 1);
    g_assert_cmpstr(msi_log->str, ==, "");
    store(config(card->devfn, cap + 2), 2, 0x8000);
    pci_msix_notify(card, 1); /* masked after reset: stays pending */
    pci_msix_notify(card, N_VECTORS);
    pci_msix_notify(card, UINT16_MAX);
    g_assert_cmphex(load(WINDOW + 0x800, 4), ==, 2);
    store(entry + 12, 4, 0);
    g_assert_cmpstr(msi_log->str, ==, "fee00000=41 ");
    g_assert_cmphex(load(WINDOW + 0x800, 4), ==, 0);
    store(config(card->devfn, cap + 2), 2, 0xc000);
    pci_msix_notify(card, 1);
    store(config(card->devfn, cap + 2), 2, 0x8000);
    g_assert_cmpstr(msi_log->str, ==, "fee00000=41 fee00000=41 ");
    pci_set_irq(card, true); /* no INTx while MSI-X is on */
    g_assert_false(levels[0]);
    pci_set_irq(card, false);
    g_string_truncate(msi_log, 0);
    device_free(&card->dev);
}

static void test_places(void)
{
    PciDevice *a = add_card("-1", &error_abort);
    PciDevice *b = add_card("-1", &error_abort);
    g_autoptr(Error) err = NULL, err2 = NULL, err3 = NULL;
    Device *dev = device_new(&card_type);

    g_assert_cmpint(a->devfn, ==, PCI_DEVFN(2, 0));
    g_assert_cmpint(b->devfn, ==, PCI_DEVFN(3, 0));
    g_assert_null(add_card("03.0", &err));
    g_assert_cmpstr(error_get_pretty(err), ==, "PCI: slot 3 function 0 not available for card, "
                    "in use by card,id=(null)");
    g_assert_null(add_card("3.1", &err2));
    g_assert_cmpstr(error_get_pretty(err2), ==,
                    "PCI: 3.0 indicates single function, but 3.1 is already populated.");
    g_assert_false(device_set(dev, "addr", "20", &err3));
    g_assert_cmpstr(error_get_pretty(err3), ==, "Property 'card.addr' doesn't take value '20'");
    g_assert_false(device_set(dev, "addr", "3.8", NULL));
    g_assert_false(device_set(dev, "addr", "3.", NULL));
    g_assert_false(device_set(dev, "addr", "", NULL));
    device_free(dev);
    device_free(&a->dev);
    device_free(&b->dev);
}

/* A guest that writes anything anywhere must not get beyond its devices. */
static void test_random_accesses(void)
{
    g_autoptr(GRand) rand = test_rand_new();
    PciDevice *card = add_card("4", &error_abort);

    for (int i = 0; i < N_RANDOM; i++) {
        unsigned size = 1 << test_rand_below(rand, 4);
        hwaddr addr = config(card->devfn, test_rand_below(rand, 0x110));

        if (test_rand_below(rand, 8) == 0) {
            addr = WINDOW + test_rand_below(rand, 0x20000);
        }
        if (test_rand_below(rand, 2)) {
            mem_store(memory, addr, size, (uint64_t)g_rand_int(rand) << 32 | g_rand_int(rand));
        } else {
            load(addr, MIN(size, 4));
        }
        pci_msix_notify(card, test_rand_below(rand, 4));
        pci_set_irq(card, test_rand_below(rand, 2));
        if (test_rand_below(rand, 1000) == 0) {
            device_reset_all();
        }
    }
    g_string_truncate(msi_log, 0);
    device_free(&card->dev);
    g_assert_false(levels[0]);
}

int main(int argc, char **argv)
{
    PciBusConfig bus_config = {.ecam_base = ECAM, .ecam_size = 1 << 28, .msi = log_msi};
    int ret;

    test_init(&argc, &argv);
    bql_lock();
    msi_log = g_string_new(NULL);
    memory = memory_map_new("memory", false);
    ports = memory_map_new("ports", true);
    for (int i = 0; i < 4; i++) {
        lines[i] = irq_new(set_level, NULL, i);
        bus_config.intx[i] = lines[i];
    }
    bus_config.memory = memory;
    bus_config.ports = ports;
    pci_bus_init(&bus, "pci.0", &bus_config);
    memory_add_window(memory, "window", WINDOW, 0x40000000, bus.mem, WINDOW);
    g_test_add_func("/pci/config/by-both-ways", test_config_by_both_ways);
    g_test_add_func("/pci/bar/sizing-and-mapping", test_bar_sizing_and_mapping);
    g_test_add_func("/pci/intx/routing-and-sharing", test_intx_routing_and_sharing);
    g_test_add_func("/pci/msix/masks-and-sends", test_msix);
    g_test_add_func("/pci/bus/places", test_places);
    g_test_add_func("/pci/config/random-accesses", test_random_accesses);
    ret = g_test_run();
    pci_bus_done(&bus);
    memory_map_free(memory);
    memory_map_free(ports);
    for (int i = 0; i < 4; i++) {
        irq_free(lines[i]);
    }
    g_string_free(msi_log, true);
    bql_unlock();
    return ret;
}
