"""python3-uamqp over TLS: uamqpclient.py PORT CA-FILE. An exception is a failure."""
import sys
from uamqp import Message, ReceiveClient, SendClient, authentication, constants

port, ca = int(sys.argv[1]), sys.argv[2]
COUNT = 20


def login():
    return authentication.SASLPlain("localhost", "ann", "secret", port=port, verify=ca)


def address(name):
    return "amqps://localhost:%d/uamqp.%s" % (port, name)


def send(name, mode):
    sender = SendClient(address(name), auth=login(), send_settle_mode=mode)
    for i in range(COUNT):
        sender.queue_message(Message("m%d" % i, application_properties={"n": i}))
    states = sender.send_all_messages(close_on_done=True)
    if len(states) != COUNT or any(s != constants.MessageState.SendComplete for s in states):
        raise AssertionError(states)


def receive(name, mode, prefetch):
    receiver = ReceiveClient(address(name), auth=login(), prefetch=prefetch, timeout=10000, receive_settle_mode=mode)
    got = []
    while len(got) < COUNT:
        batch = receiver.receive_message_batch(max_batch_size=prefetch, timeout=10000)
        if not batch:
            raise AssertionError("got %d messages" % len(got))
        for m in batch:
            got.append((b"".join(m.get_data()).decode(), m.application_properties[b"n"]))
            if mode == constants.ReceiverSettleMode.PeekLock:
                m.accept()
    receiver.close()
    if got != [("m%d" % i, i) for i in range(COUNT)]:
        raise AssertionError(got)


for name, sent, received, prefetch in (
    ("queue", constants.SenderSettleMode.Unsettled, constants.ReceiverSettleMode.PeekLock, 5),
    ("one", constants.SenderSettleMode.Unsettled, constants.ReceiverSettleMode.PeekLock, 1),
    ("settled", constants.SenderSettleMode.Settled, constants.ReceiverSettleMode.ReceiveAndDelete, 100),
):
    send(name, sent)
    receive(name, received, prefetch)
