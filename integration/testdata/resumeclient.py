"""A client that resumes its links, which no library here does: resumeclient.py HOST:PORT. It speaks frames. An exception is a failure."""

import socket
import struct
import sys

HOST, PORT = sys.argv[1].rsplit(":", 1)
OPEN, BEGIN, ATTACH, FLOW, TRANSFER, DISPOSITION, DETACH = range(0x10, 0x17)
ACCEPTED = 0x24
WAIT = 20


class Symbol(str):
    """A symbol."""


class UInt(int):
    """A uint."""


class Described:
    """A list with a descriptor."""

    def __init__(self, code, *fields):
        self.code, self.fields = code, list(fields)


def encode(v):
    if v is None:
        return b"\x40"
    if v is True or v is False:
        return b"\x41" if v else b"\x42"
    if isinstance(v, Described):
        return b"\x00\x53" + bytes([v.code]) + encode(v.fields)
    if isinstance(v, UInt):
        return b"\x70" + struct.pack(">I", v)
    if isinstance(v, int):
        return b"\x50" + bytes([v])
    if isinstance(v, bytes):
        return b"\xb0" + struct.pack(">I", len(v)) + v
    if isinstance(v, str):
        b = v.encode()
        return (b"\xb3" if isinstance(v, Symbol) else b"\xb1") + struct.pack(">I", len(b)) + b
    if isinstance(v, dict):
        v, code = [x for entry in v.items() for x in entry], b"\xd1"
    else:
        code = b"\xd0"
    b = b"".join(encode(x) for x in v)
    return code + struct.pack(">II", len(b) + 4, len(v)) + b


def decode(b):
    """Returns the value and what follows it."""
    code, b = b[0], b[1:]
    if code == 0x00:
        kind, b = decode(b)
        v, b = decode(b)
        return (Described(kind, *v) if isinstance(v, list) else v), b
    if code in (0x40, 0x41, 0x42, 0x43, 0x44, 0x45):
        return {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0, 0x45: []}[code], b
    width = {5: 1, 6: 2, 7: 4, 8: 8}.get(code >> 4)
    if width:
        return int.from_bytes(b[:width], "big"), b[width:]
    size, b = (b[0], b[1:]) if code >> 4 in (0xA, 0xC, 0xE) else (struct.unpack(">I", b[:4])[0], b[4:])
    v, rest = b[:size], b[size:]
    if code >> 4 in (0xA, 0xB):
        return (v if code & 15 == 0 else v.decode()), rest
    if code >> 4 in (0xE, 0xF):  # arrays are of no interest here
        return None, rest
    v = v[1 if code >> 4 == 0xC else 4:]
    items = []
    while v:
        item, v = decode(v)
        items.append(item)
    return (dict(zip(items[::2], items[1::2])) if code & 15 == 1 else items), rest


class Client:
    """A connection with one session and one link."""

    def __init__(self):
        self.s = socket.create_connection((HOST, int(PORT)), timeout=WAIT)
        self.buffer = b""
        self.s.sendall(b"AMQP\x00\x01\x00\x00")
        self.read(8)
        self.send(OPEN, "resumer")
        self.send(BEGIN, None, UInt(0), UInt(100), UInt(100))
        self.await_(BEGIN)
        self.id = 0

    def send(self, code, *fields, payload=b""):
        body = encode(Described(code, *fields)) + payload
        self.s.sendall(struct.pack(">IBBH", 8 + len(body), 2, 0, 0) + body)

    def read(self, n):
        while len(self.buffer) < n:
            b = self.s.recv(65536)
            if not b:
                raise AssertionError("the connection ended: %r" % self.buffer)
            self.buffer += b
        b, self.buffer = self.buffer[:n], self.buffer[n:]
        return b

    def await_(self, *codes):
        """Returns the next frame of one of these kinds: its fields, code and payload."""
        while True:
            size, offset = struct.unpack(">IB", self.read(8)[:5])
            body = self.read(size - 8)[4 * offset - 8:]
            if not body:
                continue
            frame, payload = decode(body)
            if frame.code == DETACH and frame.fields[2:]:
                raise AssertionError("detached: %s" % frame.fields[2].fields)
            if frame.code in codes:
                frame.fields += [None] * 14
                return frame, payload

    def attach(self, receiver, unsettled):
        """Attaches the link, to be remembered for a minute, and returns the node's unsettled map."""
        here = Described(0x28 if receiver else 0x29, "resumed", None, None, UInt(60))
        there = Described(0x29 if receiver else 0x28)
        ends = (here, there) if receiver else (there, here)
        self.send(ATTACH, "link", UInt(0), receiver, None, None if receiver else 1, *ends, unsettled, False, None if receiver else UInt(0))
        frame, _ = self.await_(ATTACH)
        return frame.fields[7]

    def transfer(self, tag, resume=False):
        body = b"\x00\x53\x70\xc0\x02\x01\x41\x00\x53\x75\xa0" + bytes([len(tag)]) + tag  # durable
        self.send(TRANSFER, UInt(0), UInt(self.id), tag, UInt(0), resume, False, None, Described(ACCEPTED) if resume else None, resume,
                  payload=b"" if resume else body)
        self.id += 1

    def drop(self):
        self.s.close()


def expect(got, want):
    if got != want:
        raise AssertionError("got %r, want %r" % (got, want))


def sender():
    """Three messages are accepted, and the connection is lost before the client has settled them."""
    tags = [b"a", b"b", b"c"]
    c = Client()
    c.attach(False, None)
    for tag in tags:
        c.transfer(tag)
    accepted = 0
    while accepted < 3:
        f = c.await_(DISPOSITION)[0].fields
        expect((f[3] or False, f[4].code), (False, ACCEPTED))
        accepted += (f[2] if f[2] is not None else f[1]) - f[1] + 1
    c.drop()
    c = Client()
    known = c.attach(False, {tag: None for tag in tags + [b"lost"]})
    expect({tag: state.code for tag, state in known.items()}, {tag: ACCEPTED for tag in tags})
    for tag in tags:
        c.transfer(tag, resume=True)
    c.transfer(b"lost")
    expect(c.await_(DISPOSITION)[0].fields[4].code, ACCEPTED)
    c.drop()
    c = Client()
    expect(sorted(c.attach(False, {tag: None for tag in tags + [b"lost"]})), [b"lost"])
    c.drop()


def receiver():
    """Of four messages two are accepted when the connection is lost: two come again, counted or not."""
    c = Client()
    c.attach(True, None)
    c.send(FLOW, UInt(0), UInt(100), UInt(0), UInt(100), UInt(0), UInt(0), UInt(10))
    got = {}
    while len(got) < 4:
        frame, payload = c.await_(TRANSFER)
        got[frame.fields[2]] = payload[-1:]
    expect(b"".join(sorted(got.values())), b"abct")
    accepted = [tag for tag, body in got.items() if body in b"ac"]
    c.drop()
    c = Client()
    unsettled = {tag: Described(ACCEPTED) if tag in accepted else None for tag in got}
    expect(c.attach(True, unsettled), None)
    c.send(FLOW, UInt(0), UInt(100), UInt(0), UInt(100), UInt(0), UInt(0), UInt(10), None, True)
    again = []
    while True:
        frame, payload = c.await_(TRANSFER, FLOW)
        if frame.code == FLOW:
            break
        again.append(payload[-1:])
        c.send(DISPOSITION, True, UInt(frame.fields[1]), None, True, Described(ACCEPTED))
    expect(b"".join(again), b"bt")
    c.send(DETACH, UInt(0), True)
    c.await_(DETACH)
    c.drop()


sender()
receiver()
