/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the files of hw/pci share.
 */
#ifndef HW_PCI_PCI_INT_H
#define HW_PCI_PCI_INT_H

#include "hw/pci/pci.h"

/** A guest's access to configuration space; @size is 1, 2 or 4 and does not cross a word. */
uint32_t pci_config_read(PciDevice *dev, unsigned offset, unsigned size);
void pci_config_write(PciDevice *dev, unsigned offset, unsigned size, uint32_t value);

/** Map or hide BARs as the configuration space says. */
void pci_update_bars(PciDevice *dev);

/** Drive the INTx line as device and configuration space say. */
void pci_update_intx(PciDevice *dev);

#endif
