"""python3-stomp and python3-qpid-proton: one message with its headers.

headersclient.py stomp|amqp send|receive HOST:PORT QUEUE; the message is a line of JSON on standard input or output.
"""

import json
import sys
import threading

PROTOCOL, VERB, ADDR, QUEUE = sys.argv[1:5]
WAIT = 20


def stomp_client(fields):
    import stomp

    host, port = ADDR.rsplit(":", 1)
    done, got = threading.Event(), []

    class Listener(stomp.ConnectionListener):
        def on_receipt(self, frame):
            done.set()

        def on_message(self, frame):
            h = frame.headers
            got.append({
                "body": frame.body, "correlation": h["correlation-id"], "reply": h["reply-to"].rsplit("/", 1)[1], "subject": h["type"],
                "priority": h["priority"], "durable": h.get("persistent", "false"), "own": h["own"],
            })
            connection.ack(h["ack"])
            done.set()

    connection = stomp.Connection12([(host, int(port))], auto_content_length=False)
    connection.set_listener("", Listener())
    connection.connect(wait=True)
    if VERB == "send":
        connection.send("/queue/" + QUEUE, fields["body"], headers={
            "correlation-id": fields["correlation"], "reply-to": "/queue/" + fields["reply"], "type": fields["subject"],
            "priority": fields["priority"], "persistent": fields["durable"], "own": fields["own"], "receipt": "sent",
        })
    else:
        connection.subscribe("/queue/" + QUEUE, id=1, ack="client-individual")
    if not done.wait(WAIT):
        raise AssertionError("timed out")
    connection.disconnect()
    return got[0] if got else None


def amqp_client(fields):
    from proton import Message
    from proton.utils import BlockingConnection

    connection = BlockingConnection(ADDR, timeout=WAIT)
    got = None
    if VERB == "send":
        connection.create_sender("queue://" + QUEUE).send(Message(
            body=fields["body"], correlation_id=fields["correlation"], reply_to="queue://" + fields["reply"], subject=fields["subject"],
            priority=int(fields["priority"]), durable=fields["durable"] == "true", properties={"own": fields["own"]},
        ))
    else:
        receiver = connection.create_receiver("queue://" + QUEUE)
        m = receiver.receive(timeout=WAIT)
        receiver.accept()
        got = {
            "body": m.body, "correlation": m.correlation_id, "reply": m.reply_to.rsplit("/", 1)[1], "subject": m.subject,
            "priority": str(m.priority), "durable": str(m.durable).lower(), "own": m.properties["own"],
        }
    connection.close()
    return got


message = json.loads(sys.stdin.read()) if VERB == "send" else None
result = {"stomp": stomp_client, "amqp": amqp_client}[PROTOCOL](message)
if result:
    print(json.dumps(result))
