/** A guest of a sandbox over the network: `comicran jailor exec` as a program of its own, which this passes streams to. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type ExecCommand, type ExecInput, type ExecOutput, ExecOutputSchema } from '../api/gen/comicran_pb.ts';
import { ComicranError } from '../base/errors.ts';
import { checkName } from './sandboxes/lifecycle.ts';
import type { Registry } from './sandboxes/registry.ts';

const PROGRAM = join(import.meta.dirname, '../../bin/comicran');
const SIZES_FD = 3;
/** Output that the caller has not taken yet; more of it waits in the program. */
const MAX_WAITING_BYTES = 1 << 20;

export type ExecWorld = { readonly stateDirectory: string; readonly registry: Registry };

type Output = NonNullable<MessageInitShape<typeof ExecOutputSchema>['output']>;

/** @throws ComicranError usage, sandbox.unknown, migration.busy; what jailor refuses with stands on its standard error */
export async function* execInSandbox(
  { stateDirectory, registry }: ExecWorld,
  inputs: AsyncIterable<ExecInput>,
  signal: AbortSignal,
): AsyncGenerator<ExecOutput> {
  const asked = inputs[Symbol.asyncIterator]();
  const { value: first } = await asked.next();
  if (first?.input.case !== 'command') throw new ComicranError('peer.protocol', 'the first message is no command');
  const command = first.input.value;
  checkName(command.name);
  registry.expect(command.name, 'running');
  const child = spawn(PROGRAM, wordsOf(command, stateDirectory), { stdio: ['pipe', 'pipe', 'pipe', 'pipe'], cwd: '/' });
  // The program that ends does not read on, which is no failure here.
  for (const stream of [child.stdin, child.stdio[SIZES_FD] as Writable]) stream.on('error', () => undefined);
  const waiting: Output[] = [];
  let waitingBytes = 0;
  let wake = Promise.withResolvers<void>();
  const put = (output: Output, bytes = 0): void => {
    waiting.push(output);
    waitingBytes += bytes;
    wake.resolve();
  };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].on('data', (value: Buffer) => {
      put({ case: name, value }, value.length);
      if (waitingBytes > MAX_WAITING_BYTES) child[name].pause();
    });
  }
  child.once('error', () => put({ case: 'exitStatus', value: 127 }));
  child.once('close', (code, killer) => {
    put({ case: 'exitStatus', value: killer === null ? (code ?? 1) : 128 + constants.signals[killer] });
  });
  const end = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', end);
  void passOn(asked, child.stdin, child.stdio[SIZES_FD] as Writable, (number) => child.kill(number)).catch(end);
  try {
    for (;;) {
      await wake.promise;
      wake = Promise.withResolvers<void>();
      for (const output of waiting.splice(0)) {
        yield create(ExecOutputSchema, { output });
        if (output.case === 'exitStatus') return;
      }
      waitingBytes = 0;
      child.stdout.resume();
      child.stderr.resume();
    }
  } finally {
    signal.removeEventListener('abort', end);
    end();
  }
}

function wordsOf({ name, words, hostTools, terminal }: ExecCommand, stateDirectory: string): string[] {
  const { columns = 80, rows = 24, type = '' } = terminal ?? {};
  return [
    ...['jailor', 'exec', name, '--state', stateDirectory],
    ...(hostTools ? ['--with-host-tools'] : []),
    ...(terminal === undefined
      ? []
      : ['--terminal', `${columns}x${rows}:${type || 'xterm'}`, '--sizes-fd', String(SIZES_FD)]),
    '--',
    ...words,
  ];
}

/** What comes behind the command. */
async function passOn(
  asked: AsyncIterator<ExecInput>,
  stdin: Writable,
  sizes: Writable,
  kill: (signal: number) => void,
): Promise<void> {
  for (;;) {
    const { value, done } = await asked.next();
    if (done === true) return;
    const { input } = value;
    if (input.case === 'stdin' && !stdin.write(input.value)) {
      await Promise.race([
        new Promise((resolve) => stdin.once('drain', resolve)),
        new Promise((resolve) => stdin.once('close', resolve)),
      ]);
    }
    if (input.case === 'endOfStdin') stdin.end();
    if (input.case === 'size') sizes.write(`${input.value.columns}x${input.value.rows}\n`);
    if (input.case === 'signal') kill(input.value);
  }
}
