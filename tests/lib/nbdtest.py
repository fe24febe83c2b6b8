# SPDX-License-Identifier: GPL-2.0-or-later
"""An NBD client as small as tests need it: newstyle handshake, simple and structured replies, meta
contexts, and raw access for those who test what happens to clients that do not behave."""

import socket
import struct

from imgtest import PATIENCE

NBDMAGIC, IHAVEOPT = 0x4e42444d41474943, 0x49484156454f5054
OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_STARTTLS, OPT_INFO, OPT_GO = 1, 2, 3, 5, 6, 7
OPT_STRUCTURED, OPT_LIST_META, OPT_SET_META = 8, 9, 10
REP_ACK, REP_SERVER, REP_INFO, REP_META = 1, 2, 3, 4
ERR_UNSUP, ERR_POLICY, ERR_INVALID, ERR_UNKNOWN, ERR_TOO_BIG = (
    0x80000000 + n for n in (1, 2, 3, 6, 9))
CMD_READ, CMD_WRITE, CMD_DISC, CMD_FLUSH, CMD_TRIM, CMD_CACHE, CMD_WRITE_ZEROES, CMD_STATUS = range(8)
FLAG_FUA, FLAG_DF, FLAG_ONE = 1, 4, 8
CHUNK_NONE, CHUNK_DATA, CHUNK_HOLE, CHUNK_STATUS, CHUNK_ERROR = 0, 1, 2, 5, 0x8001


class NbdError(Exception):
    """The server answered with an error number."""


class NbdClient:
    """One connection; with @export it has entered that export, with @contexts in structured mode."""

    def __init__(self, path, export=None, flags=3, contexts=None):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(path)
        magic, self.option_magic, self.server_flags = struct.unpack(">QQH", self.recv(18))
        assert (magic, self.option_magic) == (NBDMAGIC, IHAVEOPT)
        self.send(struct.pack(">I", flags))
        self.cookie = 0
        self.structured = contexts is not None
        if self.structured:
            assert self.option(OPT_STRUCTURED) == [(REP_ACK, b"")]
            self.contexts = {struct.unpack(">I", data[:4])[0]: data[4:].decode() for kind, data in
                             self.option(OPT_SET_META, self.meta_data(export, contexts))[:-1]}
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
        while not replies or replies[-1][0] in (REP_SERVER, REP_INFO, REP_META):
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

    @staticmethod
    def meta_data(export, queries):
        """The data of LIST_META and SET_META."""
        words = [text.encode() for text in (export, *queries)]
        words = [struct.pack(">I", len(word)) + word for word in words]
        return words[0] + struct.pack(">I", len(queries)) + b"".join(words[1:])

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
        if self.structured:
            return self.assemble(offset, length, self.chunks(cookie))
        error, answered, result = self.reply(length if command == CMD_READ else 0)
        assert answered == cookie
        if error:
            raise NbdError(error)
        return result

    def chunks(self, cookie):
        """The parts of the next reply, as (type, data); of a simple one an empty list."""
        parts, last = [], False
        while not last:
            magic, = struct.unpack(">I", self.recv(4))
            if magic == 0x67446698:
                error, answered = struct.unpack(">IQ", self.recv(12))
                assert answered == cookie and not parts
                if error:
                    raise NbdError(error)
                return []
            flags, kind, answered, length = struct.unpack(">HHQI", self.recv(16))
            assert (magic, answered) == (0x668e33ef, cookie)
            parts.append((kind, self.recv(length)))
            last = flags & 1
        if kind == CHUNK_ERROR:
            error, length = struct.unpack(">IH", parts[-1][1][:6])
            raise NbdError(error, parts[-1][1][6:].decode())
        return parts

    @staticmethod
    def assemble(offset, length, parts):
        """The data of a read from its parts, which must cover it in their order."""
        data = b""
        for kind, part in parts:
            if kind != CHUNK_NONE:
                assert struct.unpack(">Q", part[:8])[0] == offset + len(data)
                data += part[8:] if kind == CHUNK_DATA else bytes(struct.unpack(">I", part[8:])[0])
        assert not parts or len(data) == length
        return data

    def status(self, offset, length, flags=0):
        """Block status: name of the context -> list of (length, number)."""
        cookie = self.request(CMD_STATUS, offset, length, flags=flags)
        answer = {}
        for kind, data in self.chunks(cookie):
            assert kind == CHUNK_STATUS
            numbers = struct.unpack(f">{len(data) // 4}I", data)
            answer[self.contexts[numbers[0]]] = list(zip(numbers[1::2], numbers[2::2]))
        return answer

    def read(self, offset, length):
        return self.call(CMD_READ, offset, length)

    def write(self, offset, data, flags=0):
        self.call(CMD_WRITE, offset, len(data), data, flags)

    def flush(self):
        self.call(CMD_FLUSH)
