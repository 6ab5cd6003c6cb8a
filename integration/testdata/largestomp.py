"""python3-stomp: one large message, from a file or into one.

send HOST:PORT QUEUE FILE       returns when it is confirmed
receive HOST:PORT QUEUE FILE    writes the body, and acknowledges it
"""

import sys
import threading

import stomp

verb, addr, queue, path = sys.argv[1], sys.argv[2], "/queue/" + sys.argv[3], sys.argv[4]
host, port = addr.rsplit(":", 1)
done = threading.Event()
failure = []


class Listener(stomp.ConnectionListener):
    """Waits for the RECEIPT, or for the message."""

    def on_receipt(self, frame):
        done.set()

    def on_message(self, frame):
        with open(path, "wb") as file:
            file.write(frame.body)
        connection.ack(frame.headers["ack"], receipt="acknowledged")

    def on_error(self, frame):
        failure.append("ERROR: %s" % frame.headers.get("message"))
        done.set()

    def on_disconnected(self):
        if not done.is_set():
            failure.append("disconnected")
            done.set()


connection = stomp.Connection12([(host, int(port))], reconnect_attempts_max=1, auto_decode=False)
# By default it reads 1 KiB at a time, and copies all that it has at each NUL.
connection.transport._Transport__recv_bytes = 1 << 20
connection.set_listener("", Listener())
connection.connect(wait=True)
if verb == "send":
    with open(path, "rb") as file:
        connection.send(queue, file.read(), receipt="sent", persistent="true")
else:
    connection.subscribe(queue, id="1", ack="client-individual")
if not done.wait(170):
    failure.append("timeout")
if failure:
    sys.exit("; ".join(failure))
connection.disconnect()
