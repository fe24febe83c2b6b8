# SPDX-License-Identifier: GPL-2.0-or-later
"""An NBD client as small as tests need it: newstyle handshake, simple replies, and raw access to
both for those who test what happens to clients that do not behave."""

import socket
import struct

NBDMAGIC, IHAVEOPT = 0x4e42444d41474943, 0x49484156454f5054
OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_STARTTLS, OPT_INFO, OPT_GO = 1, 2, 3, 5, 6, 7
REP_ACK, REP_SERVER, REP_INFO = 1, 2, 3
ERR_UNSUP, ERR_POLICY, ERR_INVALID, ERR_UNKNOWN, ERR_TOO_BIG = (
    0x80000000 + n for n in (1, 2, 3, 6, 9))
CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM, CMD_WRITE_ZEROES = 0, 1, 2, 3, 4, 6
FLAG_FUA = 1


class NbdError(Exception):
    """The server answered with an error number."""


class NbdClient:
    """One connection; with @export it has entered that export."""

    def __init__(self, path, export=None, flags=3):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(path)
        magic, self.option_magic, self.server_flags = struct.unpack(">QQH", self.recv(18))
        assert (magic, self.option_magic) == (NBDMAGIC, IHAVEOPT)
        self.send(struct.pack(">I", flags))
        self.cookie = 0
        if export is not None:
            self.go(export)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        """Leave without a word."""
        self.sock.close()

    def send(self, data):
        """Raw bytes."""
        self.sock.sendall(data)

    def recv(self, count):
        """Exactly @count bytes."""
        data = b""
        while len(data) < count:
            part = self.sock.recv(count - len(data))
            if not part:
                raise ConnectionError("the server closed the connection")
            data += part
        return data

    def is_closed(self):
        """Wait until the server closes the connection or says something."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionError:
            return True

    # ---- handshake ----

    def option(self, number, data=b""):
        """Send an option; its replies as (type, data), up to the last."""
        self.send(struct.pack(">QII", IHAVEOPT, number, len(data)) + data)
        replies = []
        while not replies or replies[-1][0] in (REP_SERVER, REP_INFO):
            magic, option, kind, length = struct.unpack(">QIII", self.recv(20))
            assert (magic, option) == (0x0003e889045565a9, number)
            replies.append((kind, self.recv(length)))
        return replies

    @staticmethod
    def info_data(export, *infos):
        """The data of INFO and GO."""
        name = export.encode()
        return (struct.pack(">I", len(name)) + name +
                struct.pack(f">H{len(infos)}H", len(infos), *infos))

    def go(self, export):
        """Enter; sets size and flags."""
        replies = self.option(OPT_GO, self.info_data(export))
        if replies[-1][0] != REP_ACK:
            raise NbdError(replies[-1][1].decode())
        for kind, data in replies:
            if kind == REP_INFO and data[:2] == b"\0\0":
                self.size, self.flags = struct.unpack(">QH", data[2:])

    # ---- transmission ----

    def request(self, command, offset=0, length=0, data=b"", flags=0):
        """Send a request; returns its cookie."""
        self.cookie += 1
        self.send(struct.pack(">IHHQQI", 0x25609513, flags, command, self.cookie, offset, length)
                  + data)
        return self.cookie

    def reply(self, data_len=0):
        """The next reply: (error, cookie, data)."""
        magic, error, cookie = struct.unpack(">IIQ", self.recv(16))
        assert magic == 0x67446698, hex(magic)
        return error, cookie, b"" if error else self.recv(data_len)

    def call(self, command, offset=0, length=0, data=b"", flags=0):
        """One request and its reply."""
        cookie = self.request(command, offset, length, data, flags)
        error, answered, result = self.reply(length if command == CMD_READ else 0)
        assert answered == cookie
        if error:
            raise NbdError(error)
        return result

    def read(self, offset, length):
        return self.call(CMD_READ, offset, length)

    def write(self, offset, data, flags=0):
        self.call(CMD_WRITE, offset, len(data), data, flags)

    def flush(self):
        self.call(CMD_FLUSH)
