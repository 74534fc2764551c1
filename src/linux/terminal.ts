/** Pseudo-terminals: pty(7), ioctl_tty(2). Numbers from asm-generic/ioctls.h. */
import { closeSync, constants, openSync } from 'node:fs';
import { syscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

const TIOCSPTLCK = 0x40045431;
const TIOCGPTPEER = 0x5441;
const TIOCSWINSZ = 0x5414;
/** Makes a terminal the controlling one of the session that the caller leads. */
export const TIOCSCTTY = 0x540e;
const O_CLOEXEC = 0x80000;

export type TerminalSize = { readonly columns: number; readonly rows: number };

/** Both descriptors are close-on-exec and belong to the caller. */
export function openTerminal(size: TerminalSize): { readonly masterFd: number; readonly slaveFd: number } {
  const masterFd = openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY);
  try {
    syscall('unlock a terminal', SYS.ioctl, masterFd, TIOCSPTLCK, Buffer.alloc(4));
    setTerminalSize(masterFd, size);
    // By descriptor: whatever is mounted at /dev/pts here.
    const flags = constants.O_RDWR | constants.O_NOCTTY | O_CLOEXEC;
    return { masterFd, slaveFd: syscall('open a terminal', SYS.ioctl, masterFd, TIOCGPTPEER, flags) };
  } catch (thrown) {
    closeSync(masterFd);
    throw thrown;
  }
}

export function setTerminalSize(fd: number, { columns, rows }: TerminalSize): void {
  const size = Buffer.alloc(8);
  size.writeUInt16LE(rows, 0);
  size.writeUInt16LE(columns, 2);
  syscall('set the size of a terminal', SYS.ioctl, fd, TIOCSWINSZ, size);
}
