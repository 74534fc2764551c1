/** `smanager exec`: a program in a sandbox, wherever that is, with the streams of this terminal. */
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { type ExecInput, ExecInputSchema } from '../api/gen/comicran_pb.ts';
import type { Fleet } from './fleet.ts';
import { machineOf } from './operations.ts';

/** The terminal of the program, or whatever stands in for one. */
export type Streams = {
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean; setRawMode?(raw: boolean): unknown };
  readonly stdout: NodeJS.WritableStream & {
    readonly isTTY?: boolean;
    readonly columns?: number;
    readonly rows?: number;
  };
  readonly stderr: NodeJS.WritableStream;
  /** TERM. */
  readonly terminalType: string;
};

export type ExecRequest = {
  readonly name: string;
  readonly words: readonly string[];
  readonly hostTools: boolean;
  readonly terminal: boolean;
};

/** @returns its exit status, 128 + n where signal n has ended it. @throws ComicranError */
export async function execInSandbox(fleet: Fleet, request: ExecRequest, streams: Streams): Promise<number> {
  const { name, words, hostTools } = request;
  const { stdin, stdout, stderr, terminalType } = streams;
  const vm = await machineOf(fleet, name);
  const isTerminal = request.terminal && stdin.isTTY === true && stdout.isTTY === true;
  const size = () => ({ columns: stdout.columns ?? 80, rows: stdout.rows ?? 24, type: terminalType });
  const inputs = new Inputs();
  inputs.put({
    case: 'command',
    value: { name, words: [...words], hostTools, ...(isTerminal ? { terminal: size() } : {}) },
  });
  const typed = (bytes: Buffer): void => inputs.put({ case: 'stdin', value: bytes });
  const over = (): void => inputs.put({ case: 'endOfStdin', value: true });
  const resized = (): void => inputs.put({ case: 'size', value: size() });
  stdin.on('data', typed);
  stdin.on('end', over);
  if (isTerminal) {
    stdin.setRawMode?.(true);
    stdout.on('resize', resized);
  }
  try {
    for await (const { output } of fleet.vm(vm).exec(inputs)) {
      if (output.case === 'stdout') stdout.write(output.value);
      else if (output.case === 'stderr') stderr.write(output.value);
      else if (output.case === 'exitStatus') return output.value;
    }
    return 1;
  } finally {
    inputs.end();
    stdin.off('data', typed);
    stdin.off('end', over);
    stdin.pause();
    if (isTerminal) {
      stdin.setRawMode?.(false);
      stdout.off('resize', resized);
    }
  }
}

type Input = NonNullable<MessageInitShape<typeof ExecInputSchema>['input']>;

/** What is put in comes out, in order, to whoever iterates. */
class Inputs implements AsyncIterable<ExecInput> {
  readonly #waiting: Input[] = [];
  #wake = Promise.withResolvers<void>();
  #isOver = false;

  put(input: Input): void {
    this.#waiting.push(input);
    this.#wake.resolve();
  }

  end(): void {
    this.#isOver = true;
    this.#wake.resolve();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ExecInput> {
    for (;;) {
      for (const input of this.#waiting.splice(0)) yield create(ExecInputSchema, { input });
      if (this.#isOver) return;
      await this.#wake.promise;
      this.#wake = Promise.withResolvers<void>();
    }
  }
}
