"""python3-qpid-proton over the death of a node: protonfailover.py reactor|blocking URL[,URL...] QUEUE COUNT.

Sends COUNT messages, each until it is accepted, and receives each at least once. It prints "half" when half of them are
accepted: somebody kills the node that it is connected to. Anything but the exit code 0 is a failure.
"""

import sys

from proton import ConnectionException, LinkException, Message, Timeout
from proton.handlers import MessagingHandler
from proton.reactor import Container
from proton.utils import BlockingConnection

MODE, URLS, QUEUE, COUNT = sys.argv[1], sys.argv[2].split(","), sys.argv[3], int(sys.argv[4])
WAIT = 60


def half():
    print("half", flush=True)


class Reactor(MessagingHandler):
    """Connects again by itself; what was not accepted it sends again."""

    def __init__(self):
        super().__init__(prefetch=100)
        self.open, self.under_way = list(range(COUNT)), {}
        self.accepted, self.got, self.starts, self.failure = set(), set(), 0, "timed out"

    def on_start(self, event):
        self.timer = event.container.schedule(WAIT, self)
        conn = event.container.connect(urls=URLS, reconnect=[0.1] * 1000)
        self.sender = event.container.create_sender(conn, QUEUE)
        event.container.create_receiver(conn, QUEUE)

    def on_timer_task(self, event):
        event.container.stop()

    def on_connection_opened(self, event):
        self.starts += 1
        self.open = sorted(set(self.open) | set(self.under_way.values()))
        self.under_way = {}

    def on_sendable(self, event):
        while self.open and event.sender.credit and len(self.under_way) < 50:
            i = self.open.pop(0)
            self.under_way[event.sender.send(Message(id=i, body=i, durable=True))] = i

    def on_accepted(self, event):
        i = self.under_way.pop(event.delivery, None)
        if i is None:
            return
        self.accepted.add(i)
        if len(self.accepted) == COUNT // 2:
            half()
        self.on_sendable(event)
        self.ended(event)

    def on_message(self, event):
        self.got.add(event.message.id)
        self.ended(event)

    def ended(self, event):
        if len(self.accepted) == COUNT and len(self.got) == COUNT and self.starts > 1:
            self.failure = None
            self.timer.cancel()
            event.connection.close()


def reactor():
    handler = Reactor()
    Container(handler).run()
    if handler.failure:
        raise AssertionError("%s: accepted %d, got %d of %d, %d connections" % (
            handler.failure, len(handler.accepted), len(handler.got), COUNT, handler.starts))


def others(conn):
    """Where else the node says that a client may connect."""
    return ["%s:%d" % (m["network-host"], m["port"]) for m in conn.conn.remote_properties["failover-server-list"]]


def blocking():
    """Knows one node, and learns of the others from its open."""
    known, accepted, got = URLS[:1], 0, set()
    first, turn = True, 0
    while len(got) < COUNT:
        try:
            conn = BlockingConnection(known[turn % len(known)], timeout=5)
            if first:
                known, first = known + others(conn), False
            sender, receiver = conn.create_sender(QUEUE), conn.create_receiver(QUEUE, credit=50)
            while accepted < COUNT:
                sender.send(Message(id=accepted, body=accepted, durable=True))
                accepted += 1
                if accepted == COUNT // 2:
                    half()
            while len(got) < COUNT:
                got.add(receiver.receive(timeout=WAIT).id)
                receiver.accept()
            conn.close()
        except (ConnectionException, LinkException, Timeout, OSError) as e:
            turn += 1
            if turn > 50:
                raise
            print("again: %s" % e, file=sys.stderr)
    if turn == 0:
        raise AssertionError("the connection was not lost")


{"reactor": reactor, "blocking": blocking}[MODE]()
