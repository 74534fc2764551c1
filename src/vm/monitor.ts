/** The monitor of a QEMU: commands and answers as lines of JSON (QMP, https://www.qemu.org/docs/master/interop/qmp-spec.html). */
import { createConnection, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { ComicranError } from '../base/errors.ts';

type Message = { readonly return?: unknown; readonly error?: { readonly desc: string }; readonly id?: number };

const ANSWER_MS = 5000;

export class Monitor {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, (message: Message | undefined) => void>();
  #nextId = 1;

  private constructor(socket: Socket) {
    this.#socket = socket;
    createInterface({ input: socket }).on('line', (line) => {
      const message = JSON.parse(line) as Message;
      if (message.id === undefined) return; // the greeting, or an event
      this.#waiting.get(message.id)?.(message);
    });
    socket.on('close', () => {
      for (const answer of this.#waiting.values()) answer(undefined);
    });
    socket.on('error', () => undefined); // `close` follows
  }

  /** @param path of its unix socket, which serves one at a time. @throws ComicranError lab.state when nobody answers. */
  static async connect(path: string): Promise<Monitor> {
    const socket = createConnection(path);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', (cause) =>
        reject(new ComicranError('lab.state', `no virtual machine answers at ${path}`, { cause })),
      );
    });
    const monitor = new Monitor(socket);
    await monitor.execute('qmp_capabilities');
    return monitor;
  }

  /** @throws ComicranError lab.state with what QEMU says, or when it says nothing. */
  async execute(command: string, words: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
    const id = this.#nextId++;
    const message = await new Promise<Message | undefined>((resolve) => {
      const timer = setTimeout(() => resolve(undefined), ANSWER_MS);
      this.#waiting.set(id, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      this.#socket.write(`${JSON.stringify({ execute: command, arguments: words, id })}\n`);
    });
    this.#waiting.delete(id);
    if (message !== undefined && message.error === undefined) return message.return;
    const why = message?.error?.desc ?? 'it does not answer';
    throw new ComicranError('lab.state', `the virtual machine's monitor refuses ${command}: ${why}`);
  }

  close(): void {
    this.#socket.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
