"""Memory of known contents, in blocks of 1 MiB, and a UDP server that uses and checks it on command.

Page n of block b has the text "b n generation" in it, over and over. Answers end in the number of wrong pages.
"""
import ctypes
import os
import random
import socket
import sys
import threading
import time

libc = ctypes.CDLL(None, use_errno=True)
for name in ("mmap", "mremap"):
    getattr(libc, name).restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.memcmp.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
libc.memmove.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]

PAGE, PAGES = 4096, 256
SIZE = PAGE * PAGES
DONTNEED, MAYMOVE_FIXED, ANONYMOUS = 4, 3, 0x22
ZERO = bytes(PAGE)


def expected(block, page, generation):
    if generation is None:
        return ZERO
    line = f"{block} {page} {generation}".ljust(31) + "\n"
    return line.encode() * (PAGE // 32)


class Block:
    def __init__(self, number):
        self.number = number
        # A hole before each, so that no two are one area.
        self.address = libc.mmap(None, SIZE + PAGE, 3, ANONYMOUS, -1, 0)
        libc.munmap(self.address + SIZE, PAGE)
        self.generation = [0] * PAGES
        for page in range(PAGES):
            self.put(page)

    def put(self, page):
        libc.memmove(self.address + page * PAGE, expected(self.number, page, self.generation[page]), PAGE)

    def write(self, page):
        self.generation[page] = (self.generation[page] or 0) + 1
        self.put(page)

    def right(self, page):
        content = expected(self.number, page, self.generation[page])
        return libc.memcmp(self.address + page * PAGE, content, PAGE) == 0

    def wrong(self):
        return sum(not self.right(page) for page in range(PAGES))

    def drop(self, page, count):
        count = min(count, PAGES - page)
        assert libc.madvise(self.address + page * PAGE, count * PAGE, DONTNEED) == 0
        self.generation[page:page + count] = [None] * count

    def move(self):
        # Room of its own, that the block is then moved over.
        target = libc.mmap(None, SIZE, 0, ANONYMOUS, -1, 0)
        moved = libc.mremap(self.address, SIZE, SIZE, MAYMOVE_FIXED, target)
        assert moved == target, (moved, target)
        self.address = target

    def split(self):
        # Areas of other protections in the middle, as a garbage collector makes them.
        libc.mprotect(self.address + 64 * PAGE, 64 * PAGE, 1)
        libc.mprotect(self.address + 65 * PAGE, PAGE, 3)


def in_child(run):
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writable, str(run()).encode())
        finally:
            os._exit(0)
    os.close(writable)
    answer = os.read(readable, 100)
    os.close(readable)
    os.waitpid(pid, 0)
    return int(answer or b"-1")


def in_threads(count, run):
    results = []
    threads = [threading.Thread(target=lambda: results.append(run())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(results) if len(results) == count else -1


def main():
    port, count, seed = int(sys.argv[1]), int(sys.argv[2]), 1
    blocks = [Block(number) for number in range(count)]
    kept = []
    rng = random.Random(seed)
    everything = lambda: sum(block.wrong() for block in blocks)

    def some(pages):
        picks = [(rng.choice(blocks), rng.randrange(PAGES)) for _ in range(pages)]
        return sum(not block.right(page) for block, page in picks)

    def churn(steps, kinds):
        wrong = 0
        for _ in range(steps):
            block, page = rng.choice(blocks), rng.randrange(PAGES)
            what = rng.randrange(kinds)
            if what < 8:
                wrong += not block.right(page)
            elif what < 12:
                block.write(page)
            elif what < 15:
                block.drop(page, rng.randrange(1, 40))
            elif what < 17:
                block.move()
            elif what < 18:
                kept.append(bytearray(rng.randrange(1, 1 << 18)))
                del kept[:-20]
            elif what < 19:
                wrong += in_child(lambda: some(30))
            else:
                wrong += in_threads(3, lambda: some(30))
        return wrong

    def latency(count):
        """Nanoseconds that the first touch of each of some random pages takes."""
        places = [(block, page) for block in blocks for page in range(PAGES)]
        rng.shuffle(places)
        times = []
        byte = ctypes.create_string_buffer(1)
        for block, page in places[:count]:
            address = block.address + page * PAGE
            before = time.perf_counter_ns()
            libc.memcmp(address, byte, 1)
            times.append(time.perf_counter_ns() - before)
        return times

    commands = {
        "latency": lambda count: latency(int(count)),
        "check": lambda: everything(),
        "some": lambda pages: some(int(pages)),
        "churn": lambda steps: churn(int(steps), 20),
        # Without children.
        "calm": lambda steps: churn(int(steps), 18),
        "split": lambda: [block.split() for block in blocks[::3]] and 0,
        "child": lambda: in_child(everything),
        "grandchild": lambda: in_child(lambda: everything() + in_child(everything)),
        "threads": lambda n: in_threads(int(n), lambda: everything()),
        "seed": lambda n: rng.seed(int(n)) or 0,
        "pid": lambda: os.getpid(),
    }
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", port))
    while True:
        message, client = server.recvfrom(1000)
        name, *words = message.decode().split()
        try:
            answer = str(commands[name](*words))
        except Exception as problem:  # The test shows it.
            answer = repr(problem)
        server.sendto(answer.encode(), client)


main()
