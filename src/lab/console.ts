/** A virtual machine's serial console on this terminal. */
import { once } from 'node:events';
import { createConnection } from 'node:net';
import { ComicranError } from '../base/errors.ts';
import { suggestion } from '../base/suggest.ts';
import { logTail } from './daemons.ts';
import type { LabLayout } from './layout.ts';

/** Ctrl-], as in telnet(1): everything else belongs to the machine. */
const LEAVE = 0x1d;
const SHOWN_LINES = 40;

/**
 * Shows the last lines, and then connects terminal and console until Ctrl-] or the end of standard input. One at a time: who
 * comes second waits.
 *
 * @throws ComicranError usage, lab.state
 */
export async function attachConsole(layout: LabLayout, name: string): Promise<void> {
  const machine = layout.machines.find((one) => one.name === name);
  if (machine === undefined) {
    const names = layout.machines.map((one) => one.name);
    throw new ComicranError('usage', `the lab has no virtual machine '${name}'`, {
      hint:
        names.length === 0
          ? "Bring a lab with virtual machines up with 'comicran lab up --vms'."
          : suggestion(name, names, 'Its virtual machines are'),
    });
  }
  const socket = createConnection(machine.console);
  try {
    await once(socket, 'connect');
  } catch (cause) {
    throw new ComicranError('lab.state', `the virtual machine ${name} does not run`, {
      cause,
      hint: `What it has said is in ${machine.log}. 'comicran lab up' starts it again.`,
    });
  }
  const { stdin, stdout } = process;
  stdout.write(`${logTail(machine.log, SHOWN_LINES)}\n[${name}: Enter for a shell, Ctrl-] to leave]\n`);
  if (stdin.isTTY) stdin.setRawMode(true);
  const left = Promise.withResolvers<void>();
  stdin.on('data', (bytes: Buffer) => {
    const at = bytes.indexOf(LEAVE);
    socket.write(at === -1 ? bytes : bytes.subarray(0, at));
    if (at !== -1) left.resolve();
  });
  stdin.once('end', () => left.resolve());
  socket.pipe(stdout, { end: false });
  socket.once('close', () => left.resolve());
  socket.once('error', () => undefined); // `close` follows
  try {
    await left.promise;
  } finally {
    if (stdin.isTTY) stdin.setRawMode(false);
    stdin.pause();
    socket.destroy();
  }
  stdout.write('\n');
}
