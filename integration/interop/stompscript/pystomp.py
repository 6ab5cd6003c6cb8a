"""stomp.py (python3-stomp) against a broker: HOST:PORT,... VERSION FEATURE...

Prints "ok FEATURE" or "not ok FEATURE: why" for each, and the steps of walk.
"""
import collections
import os
import queue
import select
import ssl
import sys
import threading
import time

import stomp
import stomp.protocol
import stomp.transport

addrs, version, *features = sys.argv[1:]
HOSTS = [(host, int(port)) for host, _, port in (addr.partition(":") for addr in addrs.split(",") if addr)]
CA = os.environ.get("STOMP_CA")  # empty: no TLS
WEB = os.environ.get("STOMP_WEB")  # the URL of a WebSocket, instead of a host
CLASSES = {"1.0": stomp.Connection10, "1.1": stomp.Connection11, "1.2": stomp.Connection12}
PROTOCOLS = {"1.0": stomp.protocol.Protocol10, "1.1": stomp.protocol.Protocol11, "1.2": stomp.protocol.Protocol12}


class Shared:
    """A TLS socket for a thread that sends and one that receives.

    Its TLS object is not for two threads at once: now and then the connection is lost.
    So each has it for as long as it takes without waiting.
    """

    def __init__(self, sock):
        sock.setblocking(False)
        self.sock, self.lock = sock, threading.Lock()

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def gettimeout(self):
        return None

    def recv(self, size):
        return self.turn(self.sock.recv, size)

    def send(self, data):
        return self.turn(self.sock.send, data)

    def sendall(self, data):
        while data:
            data = data[self.send(data):]

    def unwrap(self):
        return self.turn(self.sock.unwrap)

    def turn(self, do, *what):
        while True:
            reads, writes = [self.sock], []
            with self.lock:
                try:
                    return do(*what)
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLWantWriteError:
                    reads, writes = writes, reads
            select.select(reads, writes, [], 0.1)  # the other one may have taken what came


class TLSTransport(stomp.transport.Transport):
    """stomp.py over TLS."""

    def attempt_connection(self):
        super().attempt_connection()
        self.socket = Shared(self.socket)


class WebTransport(stomp.transport.BaseTransport):
    """stomp.py over the WebSockets of websocket-client (python3-websocket)."""

    vhost = "/"
    ws = None

    def attempt_connection(self):
        import websocket

        self.current_host_and_port = ("broker", 0)
        self.ws = websocket.create_connection(
            WEB, timeout=30, subprotocols=["v12.stomp", "v11.stomp", "v10.stomp"], sslopt={"ca_certs": CA} if CA else None)
        if self.ws.getsubprotocol() != "v12.stomp":
            raise AssertionError(f"got sub-protocol {self.ws.getsubprotocol()}, want the best of those offered")
        if CA:
            self.ws.sock = Shared(self.ws.sock)

    def send(self, encoded_frame):
        self.ws.send(encoded_frame.decode())

    def receive(self):
        got = self.ws.recv()
        return got.encode() if isinstance(got, str) else got

    def disconnect_socket(self):
        self.running = False
        self.cleanup()

    def cleanup(self):
        if self.ws:
            self.ws.shutdown()


def connection(beats):
    if WEB:
        c = CLASSES[version].__new__(CLASSES[version])
        transport = WebTransport()
        stomp.connect.BaseConnection.__init__(c, transport)
        more = {} if version == "1.0" else {"heartbeats": beats}
        PROTOCOLS[version].__init__(c, transport, **more)
        return c
    more = {} if version == "1.0" else {"heartbeats": beats, "vhost": "/"}
    c = CLASSES[version](HOSTS, reconnect_attempts_max=-1, **more)
    if CA:
        c.transport.__class__ = TLSTransport  # the connection makes its own
        c.set_ssl(HOSTS, ca_certs=CA)
    return c


class Listener(stomp.ConnectionListener):
    def __init__(self):
        self.frames = queue.Queue()
        self.receipts = queue.Queue()
        self.beats_lost = False

    def on_message(self, frame):
        self.frames.put(frame)

    def on_error(self, frame):
        self.frames.put(frame)
        self.receipts.put(None)

    def on_disconnected(self):
        self.frames.put(None)
        self.receipts.put(None)

    def on_receipt(self, frame):
        self.receipts.put(frame.headers["receipt-id"])

    def on_heartbeat_timeout(self):
        self.beats_lost = True


class Client:
    def __init__(self, beats=(0, 0)):
        self.c = connection(beats)
        self.listener = Listener()
        self.c.set_listener("", self.listener)
        self.c.connect("bob", "secret", wait=True)

    def port(self):
        return self.c.transport.current_host_and_port[1]

    def again(self):
        """Connect to whichever of the hosts answers."""
        self.listener = Listener()
        self.c.set_listener("", self.listener)
        while True:
            try:
                return self.c.connect("bob", "secret", wait=True)
            except (stomp.exception.StompException, OSError):
                time.sleep(0.1)

    def confirmed(self, destination, body):
        """Send a message and wait for its receipt."""
        try:
            self.c.send(destination, body, persistent="true", receipt=body)
            got = self.listener.receipts.get(timeout=10)
            while got not in (body, None):
                got = self.listener.receipts.get(timeout=10)
            return got == body
        except (stomp.exception.StompException, OSError, queue.Empty):
            return False

    def subscribe(self, destination, ack="auto", **headers):
        self.c.subscribe(destination, id="sub", ack=ack, headers=headers or None)

    def take(self, want):
        frame = self.listener.frames.get(timeout=10)
        if frame.cmd != "MESSAGE" or frame.body != want:
            raise AssertionError(f"got {frame.cmd} {frame.headers} {frame.body}, want {want}")
        return frame.headers

    def receipt(self, want):
        got = self.listener.receipts.get(timeout=10)
        if got != want:
            raise AssertionError(f"got receipt {got}, want {want}")

    def ack(self, headers, verb="ack", **more):
        f = getattr(self.c, verb)
        if version == "1.2":
            f(headers["ack"], **more)
        elif version == "1.1":
            f(headers["message-id"], "sub", **more)
        else:
            f(headers["message-id"], **more)


def test_queue():
    c = Client()
    for i in range(20):
        c.c.send("/queue/py.queue", f"m{i}", persistent="true", n=str(i), receipt=f"r{i}")
    for i in range(20):
        c.receipt(f"r{i}")
    c.subscribe("/queue/py.queue")
    for i in range(20):
        assert c.take(f"m{i}")["n"] == str(i)
    c.c.disconnect()


def test_ack():
    c = Client()
    for body in "abc":
        c.c.send("/queue/py.ack", body)
    c.subscribe("/queue/py.ack", "client", **{"activemq.prefetchSize": "2"})
    c.take("a")
    c.ack(c.take("b"))
    c.take("c")
    c.c.disconnect()
    c = Client()
    c.subscribe("/queue/py.ack", "client")
    headers = c.take("c")
    assert headers["redelivered"] == "true"
    c.ack(headers)
    c.c.disconnect()


def test_individual():
    c = Client()
    for body in "abc":
        c.c.send("/queue/py.individual", body)
    c.subscribe("/queue/py.individual", "client-individual")
    c.take("a")
    b = c.take("b")
    c.take("c")
    c.ack(b)
    c.c.disconnect()
    c = Client()
    c.subscribe("/queue/py.individual", "client-individual")
    for want in "ac":
        headers = c.take(want)
        assert headers["redelivered"] == "true"
        c.ack(headers)
    c.c.disconnect()


def test_nack():
    c = Client()
    c.c.send("/queue/py.nack", "x")
    c.subscribe("/queue/py.nack", "client-individual")
    c.ack(c.take("x"), "nack", requeue="true")
    c.ack(c.take("x"))
    c.c.disconnect()


def test_transaction():
    c = Client()
    gone = c.c.begin()
    c.c.send("/queue/py.tx", "never", transaction=gone)
    c.c.abort(gone)
    t = c.c.begin()
    c.c.send("/queue/py.tx", "one", transaction=t)
    c.c.send("/queue/py.tx", "two", transaction=t)
    c.c.commit(t)
    c.subscribe("/queue/py.tx", "client")
    c.take("one")
    headers = c.take("two")
    t = c.c.begin()
    c.ack(headers, transaction=t)
    c.c.abort(t)
    t = c.c.begin()
    c.ack(headers, transaction=t)
    c.c.send("/queue/py.tx", "three", transaction=t)
    c.c.commit(t)
    c.ack(c.take("three"))
    c.c.disconnect()


def test_temporary():
    asks, serves = Client(), Client()
    serves.subscribe("/queue/py.service")
    asks.subscribe("/temp-queue/answers")
    asks.c.send("/queue/py.service", "question", headers={"reply-to": "/temp-queue/answers"})
    serves.c.send(serves.take("question")["reply-to"], "answer")
    asks.take("answer")
    asks.c.disconnect()
    serves.c.disconnect()


def test_beats():
    c = Client((500, 500))
    c.subscribe("/queue/py.beats")
    time.sleep(2.5)
    assert c.c.is_connected() and not c.listener.beats_lost
    c.c.send("/queue/py.beats", "alive")
    c.take("alive")
    c.c.disconnect()


def test_walk():
    """Send and take one message after the other, and go on at another broker when
    the own one dies, until twenty steps are taken there."""
    destination = f"/queue/py.walk-{version}"
    sends, takes = Client(), Client()
    takes.subscribe(destination, "client-individual")
    first, there, sent, came = sends.port(), 0, collections.Counter(), collections.Counter()
    i = 0
    while there < 20:
        body, i = str(i), i + 1
        sent[body] += 1
        while not sends.confirmed(destination, body):
            sends.again()
            sent[body] += 1
        while body not in came:
            frame = takes.listener.frames.get(timeout=60)
            if frame is None or frame.cmd != "MESSAGE":
                takes.again()
                takes.subscribe(destination, "client-individual")
                continue
            got = frame.body
            assert got in sent, f"{got} came without having been sent"
            came[got] += frame.headers.get("redelivered") != "true"
            assert came[got] <= sent[got], f"{got} was sent {sent[got]} times and came {came[got]} times unmarked"
            try:
                takes.ack(frame.headers)
            except (stomp.exception.StompException, OSError):
                pass  # the end of the connection is told, too
        if first not in (sends.port(), takes.port()):
            there += 1
        print("step", takes.port(), flush=True)
    sends.c.disconnect()
    takes.c.disconnect()


for name in features:
    try:
        globals()["test_" + name]()
        print("ok", name, flush=True)
    except Exception as e:  # whatever it was, it is the result
        print(f"not ok {name}: {type(e).__name__} {e}".replace("\n", " "), flush=True)
