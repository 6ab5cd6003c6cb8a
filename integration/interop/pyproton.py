"""python3-qpid-proton: send or receive messages, one line of JSON for each.

send HOST:PORT QUEUE COUNT      bodies on standard input, a line each
receive HOST:PORT QUEUE COUNT   prints what arrived, accepted one by one
"""

import json
import sys

from proton import Message
from proton.handlers import MessagingHandler
from proton.reactor import Container

verb, addr, queue, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])


def say(body, redelivered=False):
    print(json.dumps({"body": body, "redelivered": redelivered}), flush=True)


class Peer(MessagingHandler):
    """What sender and receiver share: an address, and what may go wrong."""

    failure = None

    def fail(self, event, words):
        self.failure = words
        event.container.stop()

    def on_transport_error(self, event):
        self.fail(event, "transport: %s" % event.transport.condition)

    def on_link_error(self, event):
        self.fail(event, "link: %s" % event.link.remote_condition)

    def on_session_error(self, event):
        self.fail(event, "session: %s" % event.session.remote_condition)

    def on_connection_error(self, event):
        self.fail(event, "connection: %s" % event.connection.remote_condition)


class Send(Peer):
    """Sends while there is credit, then waits for the outcomes."""

    def __init__(self):
        super().__init__()
        self.bodies = sys.stdin.read().splitlines()
        self.next = 0
        self.confirmed = 0
        self.under_way = {}

    def on_start(self, event):
        event.container.create_sender(addr + "/" + queue)

    def on_sendable(self, event):
        while event.sender.credit and self.next < len(self.bodies):
            body = self.bodies[self.next]
            delivery = event.sender.send(Message(body=body, durable=True, id=self.next))
            self.under_way[delivery.tag] = body
            self.next += 1

    def on_accepted(self, event):
        say(self.under_way.pop(event.delivery.tag))
        self.confirmed += 1
        if self.confirmed == count:
            event.connection.close()

    def on_rejected(self, event):
        self.fail(event, "rejected: %s" % event.delivery.remote.condition)

    def on_released(self, event):
        self.fail(event, "released")

    def on_disconnected(self, event):
        if self.confirmed < count:
            self.fail(event, "disconnected after %d of %d" % (self.confirmed, count))


class Receive(Peer):
    """Receives until there are enough; each message is accepted."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def on_start(self, event):
        event.container.create_receiver(addr + "/" + queue)

    def on_message(self, event):
        if self.seen == count:
            self.release(event.delivery)
            return
        body = event.message.body
        body = body.decode() if isinstance(body, bytes) else bytes(body).decode() if isinstance(body, memoryview) else body
        say(body, event.message.delivery_count > 0)
        self.seen += 1
        if self.seen == count:
            event.receiver.close()

    def on_link_closed(self, event):
        event.connection.close()

    def on_disconnected(self, event):
        if self.seen < count:
            self.fail(event, "disconnected after %d of %d" % (self.seen, count))


peer = Send() if verb == "send" else Receive()
Container(peer).run()
if peer.failure:
    sys.exit(peer.failure)
