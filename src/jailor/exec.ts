/** `comicran jailor exec`: a guest of a sandbox with the streams of this program, or with a terminal of its own. */
import { closeSync, createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { ReadStream } from 'node:tty';
import { openTerminal, setTerminalSize, type TerminalSize } from '../linux/terminal.ts';
import { exitStatus } from './child.ts';
import { type Guest, type GuestOptions, startGuest } from './guest.ts';
import { FORWARDED, OF_TERMINALS, prepare } from './run.ts';

export type ExecOptions = Omit<GuestOptions, 'stdio' | 'terminal'> & {
  /** Absent: the guest has the streams of this program themselves. */
  readonly terminal?: TerminalSize & { readonly type: string };
  /** Where new sizes of the terminal come from, as lines `COLUMNSxROWS`; absent: from the terminal of this program. */
  readonly sizesFd?: number;
};

/** @returns the guest's exit status, 128 + n where signal n has ended it. @throws ComicranError as {@link startGuest} */
export async function execInForeground(options: ExecOptions): Promise<number> {
  // First: it closes what this program was started with, for whatever it starts.
  await prepare();
  const { terminal, sizesFd, ...rest } = options;
  if (terminal !== undefined) return execInTerminal(rest, terminal, sizesFd);
  const guest = await startGuest({ ...rest, stdio: [0, 1, 2] });
  const off = forward(guest);
  const ending = await guest.child.ended;
  off();
  guest.close();
  return exitStatus(ending);
}

function forward({ child }: Guest): () => void {
  const listeners = FORWARDED.map((signal) => {
    const pass = (): void => child.kill(signal, OF_TERMINALS.has(signal) ? 'group' : 'process');
    process.on(signal, pass);
    return () => process.off(signal, pass);
  });
  return () => {
    for (const off of listeners) off();
  };
}

/** The terminal does the rest: what is typed there for a signal is its business. */
async function execInTerminal(
  options: Omit<GuestOptions, 'stdio' | 'terminal'>,
  { type, ...size }: TerminalSize & { readonly type: string },
  sizesFd: number | undefined,
): Promise<number> {
  const { masterFd, slaveFd } = openTerminal(size);
  const started = startGuest({ ...options, stdio: [slaveFd, slaveFd, slaveFd], terminal: type });
  const guest = await started.finally(() => closeSync(slaveFd));
  const off = forward(guest);
  const master = new ReadStream(masterFd);
  // EIO is how the kernel says that nobody has the other end open any more.
  master.on('error', () => undefined);
  const drained = new Promise<void>((resolve) => master.once('close', () => resolve()));
  const { stdin, stdout } = process;
  master.on('data', (bytes) => {
    if (!stdout.write(bytes)) {
      master.pause();
      stdout.once('drain', () => master.resume());
    }
  });
  const isOwn = stdin.isTTY;
  if (isOwn) stdin.setRawMode(true);
  stdin.on('data', (bytes) => void master.write(bytes));
  const resize = (next: TerminalSize): void => {
    if (next.columns > 0 && next.rows > 0 && !master.destroyed) setTerminalSize(masterFd, next);
  };
  if (sizesFd === undefined) stdout.on('resize', () => resize(stdout));
  else {
    createInterface({ input: createReadStream('', { fd: sizesFd }) }).on('line', (line) => {
      const [columns = 0, rows = 0] = line.split('x').map(Number);
      resize({ columns, rows });
    });
  }
  try {
    const ending = await guest.child.ended;
    await Promise.race([drained, new Promise((resolve) => setTimeout(resolve, DRAIN_TIMEOUT_MS))]);
    return exitStatus(ending);
  } finally {
    off();
    if (isOwn) stdin.setRawMode(false);
    master.destroy();
    stdin.destroy();
    guest.close();
  }
}

/** Somebody whom the guest has left behind may hold its terminal. */
const DRAIN_TIMEOUT_MS = 200;
