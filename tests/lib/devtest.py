# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices that this machine does not have: the model that tests/lib/devmodel.h puts behind a file."""

import os
import struct

from imgtest import BUILD, sanitized

HEAD = struct.Struct("<24I")
ZONE = struct.Struct("<QQBB6x")
HEAD_FIELDS = ("kind", "is_host_aware", "zone_sectors", "n_zones", "max_open", "max_active",
               "granularity", "max_append", "tear_write", "fail_mgmt", "mgmt_errno", "n_mgmt",
               "n_reports", "n_writes", "has_disc", "is_tray_open", "is_locked", "is_changed",
               "drive_errno", "known_bytes", "n_moves", "n_commands", "n_transfers", "pad")
SIZE = 4096


class Device:
    """File @path as a device; its model is beside it and may be changed while programs run."""

    def __init__(self, path, size, **fields):
        self.path = path
        self.model = path + ".model"
        with open(path, "wb") as file:
            file.truncate(size)
        with open(self.model, "wb") as file:
            file.truncate(SIZE)
        self.set(**fields)

    def get(self, name):
        """A field of the model."""
        with open(self.model, "rb") as file:
            return HEAD.unpack(file.read(HEAD.size))[HEAD_FIELDS.index(name)]

    def set(self, **fields):
        """Change fields of the model; others may change meanwhile."""
        with open(self.model, "r+b", buffering=0) as file:
            for name, value in fields.items():
                file.seek(HEAD_FIELDS.index(name) * 4)
                file.write(struct.pack("<I", value))

    @property
    def env(self):
        """For the programs that see the device."""
        env = {"LD_PRELOAD": os.path.join(BUILD, "tests/lib/libdevshim.so"),
               "DEVSHIM": f"{os.path.realpath(self.model)}:/{os.path.basename(self.path)}"}
        if sanitized():
            env["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        return env

    def remove(self):
        """Both files."""
        os.unlink(self.path)
        os.unlink(self.model)


class Drive(Device):
    """A CD drive whose disc holds what is in the file."""

    def __init__(self, path, data=None):
        super().__init__(path, 0, kind=ord("c"))
        if data is not None:
            self.insert(data)

    def insert(self, data):
        """Another disc, the tray closed."""
        with open(self.path, "wb") as file:
            file.write(data)
        self.set(has_disc=1, is_tray_open=0, is_changed=1)

    def take_out(self):
        """By the button of the drive; the tray is closed afterwards."""
        self.set(has_disc=0, is_changed=1)


class Zoned(Device):
    """A host-managed zoned disk; sizes in sectors."""

    def __init__(self, path, n_zones, n_conventional, zone, cap, **fields):
        super().__init__(path, n_zones * zone * 512, kind=ord("z"), zone_sectors=zone,
                         n_zones=n_zones, granularity=512, **fields)
        with open(self.model, "r+b") as file:
            file.seek(HEAD.size)
            for i in range(n_zones):
                conventional = i < n_conventional
                file.write(ZONE.pack(zone if conventional else cap, i * zone,
                                     1 if conventional else 2, 0 if conventional else 1))
