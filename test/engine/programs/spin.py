"""A thread that keeps known values in its vector and x87 registers and counts when they are not there. Used by repl.py."""
import ctypes
import mmap
import threading

# Loads ymm0 to ymm14 from rsi and pi onto the x87 stack; then, until the third word at rdi is not 0, counts the rounds in
# the first word and, with vptest and fcompp, the differences in the second.
CODE = bytes.fromhex(
    "c5fe6f06c5fe6f4e20c5fe6f5640c5fe6f5e60c5fe6fa680000000c5fe6faea0000000c5fe6fb6c0000000c5fe6fbee0"
    "000000c57e6f8600010000c57e6f8e20010000c57e6f9640010000c57e6f9e60010000c57e6fa680010000c57e6faea0"
    "010000c57e6fb6c0010000d9eb48ff07c57def3ec4427d17ff0f8508010000c575ef7e20c4427d17ff0f85f8000000c5"
    "6def7e40c4427d17ff0f85e8000000c565ef7e60c4427d17ff0f85d8000000c55defbe80000000c4427d17ff0f85c500"
    "0000c555efbea0000000c4427d17ff0f85b2000000c54defbec0000000c4427d17ff0f859f000000c545efbee0000000"
    "c4427d17ff0f858c000000c53defbe00010000c4427d17ff757dc535efbe20010000c4427d17ff756ec52defbe400100"
    "00c4427d17ff755fc525efbe60010000c4427d17ff7550c51defbe80010000c4427d17ff7541c515efbea0010000c442"
    "7d17ff7532c50defbec0010000c4427d17ff7523d9c0d9ebded9dfe066250045663d0040751148837f10000f84ecfeff"
    "ffddd8c5f877c348ff4708ebe9"
)


class Spinner:
    def __init__(self):
        self.memory = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7)
        self.memory.write(CODE)
        self.control = (ctypes.c_ulong * 3)()
        self.patterns = ctypes.create_string_buffer(bytes((7 * i + i // 32) % 251 for i in range(480)))
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self.run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(address)
        threading.Thread(target=lambda: self.run(self.control, self.patterns), daemon=True).start()

    def rounds(self):
        return self.control[0]

    def differences(self):
        return self.control[1]
