/** The ways to look at the health of a sandbox. */
import { createSocket } from 'node:dgram';
import type { HealthSpec, ProcessSpec } from '../base/sandbox-config.ts';
import type { Child } from './child.ts';
import type { Look } from './health.ts';

/** @param start starts a program inside, with /dev/null as its streams. */
export function lookOf(spec: HealthSpec, address: string, start: (program: Program) => Promise<Child>): Look {
  const { command, udp } = spec;
  if (udp !== undefined) return (signal) => askByUdp({ ...udp, address }, signal);
  const [executable = '', ...words] = command ?? [];
  return (signal) => runCommand(() => start({ executable, arguments: words }), signal);
}

export type Program = Pick<ProcessSpec, 'executable' | 'arguments'>;

async function runCommand(start: () => Promise<Child>, signal: AbortSignal): Promise<string | undefined> {
  const child = await start();
  const end = (): void => child.kill('SIGKILL');
  if (signal.aborted) end();
  signal.addEventListener('abort', end);
  const { code, signal: killer } = await child.ended;
  signal.removeEventListener('abort', end);
  if (code === 0) return undefined;
  return killer === null ? `the command ended with exit ${code}` : `the command was ended by ${killer}`;
}

type Question = { readonly address: string; readonly port: number; readonly send: string; readonly expect?: string };

/** From the machine, as a client would. A datagram that is refused (ICMP) is an answer, too: no. */
function askByUdp(question: Question, signal: AbortSignal): Promise<string | undefined> {
  const { address, port, send, expect } = question;
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const socket = createSocket('udp4');
  socket.on('error', ({ message }) => resolve(`port ${port}: ${message}`));
  socket.on('message', (answer) => {
    const isIt = expect === undefined || answer.includes(expect);
    resolve(isIt ? undefined : `port ${port} answered ${JSON.stringify(answer.toString('utf8', 0, 40))}`);
  });
  const giveUp = (): void => resolve(`port ${port} does not answer`);
  signal.addEventListener('abort', giveUp);
  let isOver = false;
  socket.connect(port, address, () => isOver || socket.send(send));
  return promise.finally(() => {
    isOver = true;
    signal.removeEventListener('abort', giveUp);
    socket.close();
  });
}
