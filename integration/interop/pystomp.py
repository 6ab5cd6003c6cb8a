"""python3-stomp: send or receive messages, one line of JSON for each.

send HOST:PORT QUEUE COUNT      bodies on standard input, a line each
receive HOST:PORT QUEUE COUNT   prints what arrived, acknowledged one by one
"""

import json
import sys
import threading

import stomp

verb, addr, queue, count = sys.argv[1], sys.argv[2], "/queue/" + sys.argv[3], int(sys.argv[4])
host, port = addr.rsplit(":", 1)
done = threading.Event()
failure = []


class Listener(stomp.ConnectionListener):
    """Prints receipts and messages until there are enough."""

    def __init__(self):
        self.seen = 0

    def say(self, body, redelivered=False):
        print(json.dumps({"body": body, "redelivered": redelivered}), flush=True)
        self.seen += 1
        if self.seen == count:
            done.set()

    def on_receipt(self, frame):
        receipt = frame.headers["receipt-id"]
        if receipt.startswith("sent:"):
            self.say(receipt[len("sent:"):])

    def on_message(self, frame):
        connection.ack(frame.headers["ack"])
        self.say(frame.body, frame.headers.get("redelivered") == "true")

    def on_error(self, frame):
        failure.append("ERROR: %s %s" % (frame.headers.get("message"), frame.body))
        done.set()

    def on_disconnected(self):
        if not done.is_set():
            failure.append("disconnected")
            done.set()


connection = stomp.Connection12([(host, int(port))], reconnect_attempts_max=1)
connection.set_listener("", Listener())
connection.connect(wait=True)
if verb == "send":
    for body in sys.stdin.read().splitlines():
        connection.send(queue, body, receipt="sent:" + body, persistent="true")
else:
    connection.subscribe(queue, id="1", ack="client-individual")
if not done.wait(120):
    failure.append("timeout")
if failure:
    sys.exit("; ".join(failure))
gone = threading.Event()


class Goodbye(stomp.ConnectionListener):
    """Waits for the receipt of DISCONNECT: then every ACK has arrived."""

    def on_receipt(self, frame):
        if frame.headers["receipt-id"] == "goodbye":
            gone.set()


connection.set_listener("goodbye", Goodbye())
connection.disconnect(receipt="goodbye")
if not gone.wait(30):
    sys.exit("no receipt of DISCONNECT")
