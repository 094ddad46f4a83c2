"""An end of a WebSocket that says how it was closed.

Arguments: where the modules are; server or client; host:port to listen at or to connect to. A client sends 42 messages,
which the server sends back; then both wait for the end.
"""

import os
import sys

sys.path.insert(0, sys.argv[1])

from websockets.exceptions import ConnectionClosed  # noqa: E402
from websockets.sync.client import connect  # noqa: E402
from websockets.sync.server import serve  # noqa: E402


def await_end(socket):
    try:
        socket.recv(timeout=30)
    except ConnectionClosed as closed:
        print("closed by", closed.rcvd.code if closed.rcvd else None)


def echo(socket):
    for _ in range(42):
        socket.send(socket.recv())
    print("42 messages")
    await_end(socket)
    sys.stdout.flush()
    os._exit(0)  # a server that is shut down waits for its handlers, of which this is one


role = sys.argv[2]
host, port = sys.argv[3].split(":")
if role == "server":
    with serve(echo, host, int(port)) as listener:
        listener.serve_forever()
else:
    with connect(f"ws://{host}:{port}/") as socket:
        for number in range(42):
            socket.send(f"message {number} " * number)
            assert socket.recv() == f"message {number} " * number
        print("42 messages")
        await_end(socket)
