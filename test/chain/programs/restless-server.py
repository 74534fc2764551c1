"""Squares numbers, and starts a thread for each request that ends a moment later: it never has the same threads twice."""
import socket
import threading
import time

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 5006))
count = 0
while True:
    request, peer = server.recvfrom(2048)
    count += 1
    threading.Thread(target=time.sleep, args=(0.05,)).start()
    server.sendto(b"%d %d" % (int(request) ** 2, count), peer)
