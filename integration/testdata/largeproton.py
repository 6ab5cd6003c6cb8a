"""python3-qpid-proton: one large message, from a file or into one.

send HOST:PORT QUEUE FILE       as a whole, returns when it is accepted
receive HOST:PORT QUEUE FILE    as a whole, writes the body, and accepts it
stream HOST:PORT QUEUE FILE     sends it piece by piece, as the window of the session lets it
drink HOST:PORT QUEUE FILE      takes it piece by piece, by a window smaller than it is
"""

import os
import struct
import sys

from proton import Delivery, Message
from proton.handlers import MessagingHandler
from proton.reactor import Container
from proton.utils import BlockingConnection

verb, addr, queue, path = sys.argv[1:]
WAIT = 170
PIECE = 64 << 10  # of a frame, and of what the client holds


def send():
    with open(path, "rb") as file:
        body = file.read()
    c = BlockingConnection(addr, timeout=WAIT)
    state = c.create_sender(queue).send(Message(body=body, durable=True, inferred=True)).remote_state
    c.close()
    return "" if state == Delivery.ACCEPTED else "not accepted: %s" % state


def receive():
    c = BlockingConnection(addr, timeout=WAIT)
    r = c.create_receiver(queue, credit=1)
    m = r.receive(timeout=WAIT)
    with open(path, "wb") as file:
        file.write(m.body)
    r.accept()
    c.close()
    return ""


class Peer(MessagingHandler):
    """What stream and drink share: whatever ends too early is a failure."""

    failure = "nothing happened"

    def fail(self, event, words):
        self.failure = words
        event.container.stop()

    def on_start(self, event):
        self.timer = event.container.schedule(WAIT, self)
        self.connection = event.container.connect(addr, reconnect=False, max_frame_size=PIECE)

    def on_timer_task(self, event):
        self.fail(event, "timeout")

    def on_transport_error(self, event):
        self.fail(event, "transport: %s" % event.transport.condition)

    def on_link_error(self, event):
        self.fail(event, "link: %s" % event.link.remote_condition)

    def on_session_error(self, event):
        self.fail(event, "session: %s" % event.session.remote_condition)

    def on_connection_error(self, event):
        self.fail(event, "connection: %s" % event.connection.remote_condition)

    def done(self, event):
        self.failure = ""
        self.timer.cancel()
        event.connection.close()


class Stream(Peer):
    """A sender that holds a few pieces: it goes on when those before are written."""

    delivery = None
    left = 0

    def on_start(self, event):
        super().on_start(event)
        self.file = open(path, "rb")
        self.link = event.container.create_sender(self.connection, queue)

    def on_link_flow(self, event):
        if self.delivery is None and self.link.credit:
            size = self.left = os.path.getsize(path)
            self.delivery = self.link.delivery(self.link.delivery_tag())
            header = b"\x00\x53\x70\xc0\x02\x01\x41"  # durable
            self.link.stream(header + b"\x00\x53\x75\xb0" + struct.pack(">I", size))
        while self.left and self.link.session.outgoing_bytes < 4 * PIECE:
            piece = self.file.read(PIECE)
            self.left -= len(piece)
            self.link.stream(piece)
            if not self.left:
                self.link.advance()

    def on_accepted(self, event):
        self.done(event)

    def on_rejected(self, event):
        self.fail(event, "rejected: %s" % event.delivery.remote.condition)


class Drink(Peer):
    """A receiver with a window of a few pieces."""

    def __init__(self):
        super().__init__(prefetch=0, auto_accept=False)
        self.head = b""
        self.body = open(path, "wb")
        self.size = None

    def on_start(self, event):
        super().on_start(event)
        session = self.connection.session()
        session.incoming_capacity = 8 * PIECE
        session.open()
        self.link = session.receiver("drink")
        self.link.source.address = queue
        self.link.open()
        self.link.flow(1)

    def on_delivery(self, event):
        d = event.delivery
        if not d.readable:
            return
        while d.pending:
            self.take(self.link.recv(d.pending))
        if d.partial:
            return
        self.body.close()
        got = os.path.getsize(path)
        if got != self.size:
            self.fail(event, "got a body of %d bytes, its section says %s" % (got, self.size))
            return
        d.update(Delivery.ACCEPTED)
        d.settle()
        self.link.advance()
        self.done(event)

    def take(self, piece):
        """Writes what is behind the head: the sections in front of the body are short."""
        if self.size is not None:
            self.body.write(piece)
            return
        self.head += piece
        at = self.head.find(b"\x00\x53\x75\xb0")
        if at >= 0 and len(self.head) >= at + 8:
            (self.size,) = struct.unpack(">I", self.head[at + 4:at + 8])
            self.body.write(self.head[at + 8:])


def reactor(handler):
    Container(handler).run()
    return handler.failure


failure = {
    "send": send,
    "receive": receive,
    "stream": lambda: reactor(Stream()),
    "drink": lambda: reactor(Drink()),
}[verb]()
if failure:
    sys.exit(failure)
