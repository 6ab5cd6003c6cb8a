"""python3-qpid-proton, one scenario a run: protonclient.py HOST:PORT SCENARIO. An exception is a failure."""

import sys

from proton import Delivery, Link, Message, SSLDomain, symbol, ulong
from proton.handlers import MessagingHandler, TransactionHandler
from proton.reactor import AtMostOnce, Container, LinkOption, Selector
from proton.utils import BlockingConnection, LinkDetached, SyncRequestResponse

ADDR, SCENARIO = sys.argv[1], sys.argv[2]
WAIT = 20


def connect(**options):
    return BlockingConnection(ADDR, timeout=WAIT, **options)


def expect(got, want):
    if got != want:
        raise AssertionError("got %r, want %r" % (got, want))


def blocking():
    """Sends and receives one by one; the addresses must be echoed byte for byte."""
    c = connect()
    r = c.create_receiver("queue://proton.blocking", credit=3)
    s = c.create_sender("queue://proton.blocking")
    for i in range(5):
        expect(s.send(Message(body="m%d" % i, durable=True, id=i)).remote_state, Delivery.ACCEPTED)
    for i in range(5):
        m = r.receive(timeout=WAIT)
        expect((m.body, m.id, m.durable), ("m%d" % i, i, True))
        r.accept()
    c.close()


def tls():
    """Over TLS, with the certificate and the name looked at."""
    domain = SSLDomain(SSLDomain.MODE_CLIENT)
    domain.set_trusted_ca_db(sys.argv[3])
    domain.set_peer_authentication(SSLDomain.VERIFY_PEER_NAME)
    c = connect(ssl_domain=domain)
    r, s = c.create_receiver("proton.tls"), c.create_sender("proton.tls")
    expect(s.send(Message(body="x")).remote_state, Delivery.ACCEPTED)
    expect(r.receive(timeout=WAIT).body, "x")
    r.accept()
    c.close()


def outcomes():
    """Rejected, released and modified."""
    c = connect()
    s = c.create_sender("proton.outcomes")
    r = c.create_receiver("proton.outcomes", credit=1)
    dead = c.create_receiver("ActiveMQ.DLQ", credit=1)
    s.send(Message(body="rejected"))
    r.receive(timeout=WAIT)
    r.reject()
    expect(dead.receive(timeout=WAIT).body, "rejected")
    dead.accept()
    for delivered, count in ((False, 0), (True, 0)):
        s.send(Message(body="again"))
        r.receive(timeout=WAIT)
        r.release(delivered=delivered)
        m = r.receive(timeout=WAIT)
        expect((m.body, m.delivery_count), ("again", count))
        r.accept()
    c.close()


def types():
    """Every type that the library has, in properties and body."""
    c = connect()
    s, r = c.create_sender("proton.types"), c.create_receiver("proton.types")
    body = {"list": [1, "two", None, True], "map": {symbol("k"): ulong(7)}, "bytes": b"\x00\xff", "float": 1.5}
    m = Message(body=body, subject="s", correlation_id=ulong(9), content_type="text/x", reply_to="queue://a", group_id="g", ttl=60,
                properties={"n": 1, "t": True, "s": "é"}, annotations={symbol("x-opt-a"): [1, 2]}, priority=8)
    s.send(m)
    got = r.receive(timeout=WAIT)
    r.accept()
    for field in ("body", "subject", "correlation_id", "content_type", "reply_to", "group_id", "properties", "priority"):
        expect(getattr(got, field), getattr(m, field))
    expect(got.annotations["x-opt-a"], [1, 2])
    c.close()


def presettled():
    """At most once, both ways."""
    c = connect()
    s = c.create_sender("proton.presettled", options=AtMostOnce())
    r = c.create_receiver("proton.presettled", credit=5, options=AtMostOnce())
    for i in range(5):
        s.send(Message(body=i))
    expect([r.receive(timeout=WAIT).body for _ in range(5)], list(range(5)))
    c.close()


class Second(LinkOption):
    """Both ends settle second."""

    def apply(self, link):
        link.rcv_settle_mode = Link.RCV_SECOND


def second():
    """Exactly once, as far as the library goes: it leaves the settling of what it sends to the node."""
    c = connect()
    s, r = c.create_sender("proton.second", options=Second()), c.create_receiver("proton.second", credit=2, options=Second())
    for i in range(2):
        expect(s.send(Message(body=i, durable=True)).remote_state, Delivery.ACCEPTED)
    for i in range(2):
        expect(r.receive(timeout=WAIT).body, i)
        r.accept()
    c.close()


def credit():
    """One message at a time, and many."""
    c = connect()
    s = c.create_sender("proton.credit")
    for i in range(300):
        s.send(Message(body=i))
    for credit, count in ((1, 20), (500, 280)):
        r = c.create_receiver("proton.credit", credit=credit)
        for _ in range(count):
            r.receive(timeout=WAIT)
            r.accept()
        r.close()
    c.close()


def refused():
    """A link that cannot be, and one after it that can."""
    c = connect()
    for address in ("$management", "$cbs"):
        try:
            c.create_receiver(address)
        except LinkDetached as e:
            if "amqp:not-found" not in str(e) and "no node" not in str(e):
                raise
        else:
            raise AssertionError(address + " was attached")
    s = c.create_sender("proton.refused")
    expect(s.send(Message(body="x")).remote_state, Delivery.ACCEPTED)
    c.close()


def selector():
    """A selector is honored, or the link is refused: it is never ignored."""
    c = connect()
    s = c.create_sender("proton.selector")
    for color in ("green", "red", "green"):
        s.send(Message(body=color, properties={"color": color}))
    try:
        r = c.create_receiver("proton.selector", credit=1, options=Selector("color = 'red'"))
    except LinkDetached as e:
        if "not-supported" not in str(e) and "not-implemented" not in str(e):
            raise
    else:
        expect(r.receive(timeout=WAIT).body, "red")
        r.accept()
    c.close()


class Reactor(MessagingHandler):
    """What the scenarios of the reactor share."""

    def __init__(self, **options):
        super().__init__(**options)
        self.failure = "it did not end"

    def fail(self, event, words):
        self.failure = words
        event.container.stop()

    def done(self, event):
        self.failure = None
        event.connection.close()

    def on_timer_task(self, event):
        self.fail(event, "timed out")

    def on_start(self, event):
        self.timer = event.container.schedule(WAIT, self)
        self.begin(event)

    def on_connection_closed(self, event):
        self.timer.cancel()
        event.container.stop()

    def on_link_error(self, event):
        self.fail(event, "link: %s" % event.link.remote_condition)

    def on_transport_error(self, event):
        self.fail(event, "transport: %s" % event.transport.condition)


def run(handler):
    Container(handler).run()
    if handler.failure:
        raise AssertionError(handler.failure)


class Hello(Reactor):
    """Pipelined: all is sent before the node has answered, the sender closes at once."""

    def begin(self, event):
        c = event.container.connect(ADDR)
        event.container.create_receiver(c, "proton.hello")
        event.container.create_sender(c, "proton.hello")

    def on_sendable(self, event):
        event.sender.send(Message(body="hello"))
        event.sender.close()

    def on_message(self, event):
        expect(event.message.body, "hello")
        self.done(event)


class Drain(Reactor):
    """Drains a queue of three with credit for ten."""

    def __init__(self):
        super().__init__(prefetch=0)
        self.sent, self.got = 0, []

    def begin(self, event):
        self.conn = event.container.connect(ADDR)
        event.container.create_sender(self.conn, "proton.drain")

    def on_sendable(self, event):
        while self.sent < 3:
            event.sender.send(Message(body=self.sent, durable=True))
            self.sent += 1

    def on_accepted(self, event):
        self.sent += 1
        if self.sent == 6:
            r = event.container.create_receiver(self.conn, "proton.drain")
            r.flow(10)
            r.drain(0)

    def on_message(self, event):
        self.got.append(event.message.body)
        self.ended(event)

    def on_link_flow(self, event):
        self.ended(event)

    def ended(self, event):
        if event.receiver and event.receiver.credit == 0 and not event.receiver.draining() and self.got:
            expect(sorted(self.got), [0, 1, 2])
            self.done(event)


class Transactions(Reactor, TransactionHandler):
    """Sends in a transaction that is aborted, then in one that is committed; takes in both ways."""

    def __init__(self):
        super().__init__(prefetch=0, auto_accept=False)
        self.turn, self.got = 0, []

    def begin(self, event):
        self.conn = event.container.connect(ADDR)
        self.sender = event.container.create_sender(self.conn, "proton.tx")
        self.receiver = event.container.create_receiver(self.conn, "proton.tx")
        self.container = event.container
        self.container.declare_transaction(self.conn, handler=self)

    def on_transaction_declared(self, event):
        self.tx = event.transaction
        self.turn += 1
        if self.turn < 3:
            self.tx.send(self.sender, Message(body="turn %d" % self.turn, durable=True))
        if self.turn == 1:
            self.tx.abort()
        elif self.turn == 2:
            self.tx.commit()
        else:
            self.receiver.flow(5)

    def on_message(self, event):
        self.got.append(event.message.body)
        self.tx.accept(event.delivery)
        if self.turn == 3:
            self.tx.commit()

    def on_transaction_aborted(self, event):
        self.container.declare_transaction(self.conn, handler=self)

    def on_transaction_committed(self, event):
        if self.turn == 2:
            self.container.declare_transaction(self.conn, handler=self)
        else:
            expect(self.got, ["turn 2"])
            self.done(event)

    def on_transaction_declare_failed(self, event):
        self.fail(event, "declare failed")

    def on_transaction_commit_failed(self, event):
        self.fail(event, "commit failed")


class Rollback(Reactor, TransactionHandler):
    """Takes in a transaction that is aborted: settled before the end as JMS clients do, or after it."""

    def __init__(self, settle_first):
        super().__init__(prefetch=0, auto_accept=False)
        self.settle_first, self.turn, self.counts = settle_first, 0, []
        self.queue = "proton.rollback.%s" % settle_first

    def begin(self, event):
        self.container = event.container
        self.conn = event.container.connect(ADDR)
        event.container.create_sender(self.conn, self.queue)

    def on_sendable(self, event):
        if self.turn == 0:
            self.turn = 1
            event.sender.send(Message(body="x", durable=True))

    def on_accepted(self, event):
        if event.link.is_sender and event.link.name != "txn-ctrl":
            self.receiver = self.container.create_receiver(self.conn, self.queue)
            self.declare()

    def declare(self):
        self.container.declare_transaction(self.conn, handler=self, settle_before_discharge=self.settle_first)

    def on_transaction_declared(self, event):
        self.tx = event.transaction
        self.receiver.flow(1)

    def on_message(self, event):
        self.counts.append(event.message.delivery_count)
        self.tx.accept(event.delivery)
        if self.turn == 1:
            self.tx.abort()
        else:
            self.tx.commit()

    def on_transaction_aborted(self, event):
        self.turn = 2
        self.declare()

    def on_transaction_committed(self, event):
        expect(self.counts, [0, 1 if self.settle_first else 0])
        self.done(event)

    def on_transaction_commit_failed(self, event):
        self.fail(event, "commit failed")


class Echo(MessagingHandler):
    """Answers requests to where they want the answer: one relay for all."""

    def on_start(self, event):
        self.conn = event.container.connect(ADDR)
        self.relay = event.container.create_sender(self.conn, None)
        event.container.create_receiver(self.conn, "proton.requests")

    def on_message(self, event):
        m = event.message
        self.relay.send(Message(address=m.reply_to, body=m.body.upper(), correlation_id=m.correlation_id))
        if m.body == "stop":
            event.receiver.close()

    def on_settled(self, event):
        if not event.connection.state & 2 or event.link.is_receiver:
            return


def dynamic():
    """A request, and its answer to a dynamic address."""
    import threading
    server = Container(Echo())
    threading.Thread(target=server.run, daemon=True).start()
    c = connect()
    client = SyncRequestResponse(c, "proton.requests")
    for word in ("one", "two"):
        expect(client.call(Message(body=word)).body, word.upper())
    c.close()


SCENARIOS = {
    "blocking": blocking, "tls": tls, "second": second, "credit": credit, "outcomes": outcomes, "types": types, "presettled": presettled, "refused": refused,
    "selector": selector, "dynamic": dynamic,
    "hello": lambda: run(Hello()), "drain": lambda: run(Drain()), "transactions": lambda: run(Transactions()),
    "rollback": lambda: run(Rollback(True)), "rollback-unsettled": lambda: run(Rollback(False)),
}
SCENARIOS[SCENARIO]()
