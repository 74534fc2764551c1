"""A UDP server on 127.0.0.1 that evaluates what it is sent, to bring a process into any state and look at it."""
import ctypes
import os
import signal
import socket
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", int(sys.argv[1])))
results = {}
count = 0


def background(name, call):
    """Runs a call in a thread of its own; what it gives, and how long it took, is found in results."""

    def run():
        start = time.monotonic()
        try:
            value = call()
        except BaseException as error:
            value = repr(error)
        results[name] = (value, round(time.monotonic() - start, 2))

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()


def c(function, *args):
    """A function of the C library: its result, or the name of its error."""
    import errno

    value = getattr(libc, function)(*args)
    return errno.errorcode[ctypes.get_errno()] if value == -1 else value


def answer(text):
    global count
    count += 1
    try:
        try:
            return repr(eval(text, globals()))
        except SyntaxError:
            exec(text, globals())
            return "None"
    except BaseException as error:
        return "error: " + repr(error)


while True:
    # A handler in Python runs between two calls.
    message, sender = server.recvfrom(65536)
    server.sendto(answer(message.decode()).encode(), sender)
