"""Changes its memory at random, in every way there is, when it is told to by a line on its standard input.

    churn SEED COUNT THREADS    that many changes in each of so many threads at once
    fork                        makes a child that changes its copy of the memory, and waits for its end

Answers each line with a line, and says `ok` when it has started.
"""
import ctypes
import itertools
import os
import random
import socket
import sys
import threading

PAGE = 4096
HUGE = 2 << 20
READ, WRITE = 1, 2
PRIVATE, FIXED, ANONYMOUS, NORESERVE = 0x2, 0x10, 0x20, 0x4000
MAY_MOVE = 1
DONTNEED, FREE, HUGEPAGE, NOHUGEPAGE, COLLAPSE, PAGEOUT = 4, 8, 14, 15, 25, 21
FAILED = 2**64 - 1

libc = ctypes.CDLL(None, use_errno=True)
for name in ("mmap", "mremap", "sbrk"):
    getattr(libc, name).restype = ctypes.c_uint64
word, size, number = ctypes.c_uint64, ctypes.c_uint64, ctypes.c_int
libc.mmap.argtypes = [word, size, number, number, number, size]
libc.mremap.argtypes = [word, size, size, number, word]
libc.munmap.argtypes = [word, size]
libc.madvise.argtypes = [word, size, number]
libc.mprotect.argtypes = [word, size, number]
libc.read.argtypes = [number, word, size]
libc.recv.argtypes = [number, word, size, number]
libc.sbrk.argtypes = [ctypes.c_int64]

lock = threading.Lock()
# Address and length of each area that is there to be changed.
areas = []
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
noise = os.open("/dev/urandom", os.O_RDONLY)
# Larger than any area grows: beyond its end there is no memory.
program = os.open(os.path.realpath(sys.executable), os.O_RDONLY)


def map_area(rng):
    """An area, of memory or of a file. Huge ones are aligned, or else none of their pages would be."""
    if rng.random() < 0.2:
        length = rng.randrange(1, 6) * PAGE
        address = libc.mmap(0, length, READ | WRITE, PRIVATE, program, 0)
    elif rng.random() < 0.25:
        length = rng.randrange(1, 4) * HUGE
        space = libc.mmap(0, length + HUGE, READ | WRITE, PRIVATE | ANONYMOUS, -1, 0)
        address = (space + HUGE - 1) // HUGE * HUGE
        if address > space:
            libc.munmap(space, address - space)
        libc.munmap(address + length, space + HUGE - address)
        libc.madvise(address, length, HUGEPAGE)
    else:
        length = rng.randrange(1, 200) * PAGE
        address = libc.mmap(0, length, READ | WRITE, PRIVATE | ANONYMOUS, -1, 0)
        if rng.random() < 0.5:
            libc.madvise(address, length, NOHUGEPAGE)
    areas.append((address, length))


def part(rng, area):
    """Some pages of an area."""
    address, length = area
    first = rng.randrange(length // PAGE)
    return address + first * PAGE, min(rng.choice([1, 3, 20, 40, 512]), length // PAGE - first) * PAGE


def poke(rng, area):
    address, length = area
    ctypes.memset(address + rng.randrange(length), rng.randrange(256), 1)


def fill(rng, area):
    address, length = part(rng, area)
    ctypes.memset(address, rng.randrange(256), length)


def read_in(rng, area):
    address, length = part(rng, area)
    libc.read(noise, address, min(length, 20000))


def receive(rng, area):
    address, length = part(rng, area)
    theirs.send(rng.randbytes(3000))
    libc.recv(ours.fileno(), address, 3000 if length > PAGE else PAGE, 0)


def look(rng, area):
    address, length = area
    ctypes.string_at(address + rng.randrange(length), 1)


def advise(rng, area):
    address, length = part(rng, area) if rng.random() < 0.8 else area
    libc.madvise(address, length, rng.choice([DONTNEED, DONTNEED, DONTNEED, FREE, COLLAPSE, PAGEOUT]))


def protect(rng, area):
    address, length = part(rng, area)
    libc.mprotect(address, length, READ)
    if rng.random() < 0.5:
        ctypes.string_at(address, 1)
    libc.mprotect(address, length, READ | WRITE)


def move(rng, area):
    address, length = area
    longer = max(PAGE, length + rng.randrange(-8, 16) * PAGE)
    moved = libc.mremap(address, length, longer, MAY_MOVE, 0)
    if moved != FAILED:
        areas.remove(area)
        areas.append((moved, longer))


def replace(rng, area):
    """Another area in the place of one, or of its middle: the list of areas looks as before."""
    address, length = part(rng, area) if rng.random() < 0.5 else area
    libc.mmap(address, length, READ | WRITE, PRIVATE | ANONYMOUS | FIXED, -1, 0)
    if rng.random() < 0.5:
        ctypes.memset(address, rng.randrange(256), length)


def unmap(rng, area):
    areas.remove(area)
    libc.munmap(*area)


def grow_heap(rng, area):
    """A page of the heap beyond its end, sometimes given back: the C library's own memory lies elsewhere by then."""
    end = libc.sbrk(0)
    libc.sbrk(PAGE * 3)
    ctypes.memset(end, rng.randrange(256), PAGE * 2)
    if rng.random() < 0.3 and libc.sbrk(0) == end + PAGE * 3:
        libc.sbrk(-PAGE * 3)


CHANGES = [poke] * 30 + [fill] * 16 + [read_in] * 6 + [receive] * 6 + [look] * 6 + [advise] * 16 + [protect] * 3
CHANGES += [move] * 3 + [replace] * 3 + [unmap, grow_heap]


def churn(seed, count):
    rng = random.Random(seed)
    for _ in range(count):
        # One change at a time, in threads that take turns: two that undo each other's areas would crash.
        with lock:
            while len(areas) < 12:
                map_area(rng)
            rng.choice(CHANGES)(rng, rng.choice(areas))


def in_child():
    child = os.fork()
    if child == 0:
        for address, length in areas:
            ctypes.memset(address, 0xC5, length)
        same = all(ctypes.string_at(address, length) == b"\xc5" * length for address, length in areas)
        os._exit(0 if same else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


for line in itertools.chain(["ready"], sys.stdin):
    words = line.split()
    answer = "ok"
    if words[0] == "churn":
        seed, count, threads = (int(text) for text in words[1:])
        running = [threading.Thread(target=churn, args=(seed + index, count)) for index in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    elif words[0] == "fork":
        answer = f"{in_child()}"
    print(answer, flush=True)
