/** A daemon's end of a sandbox's control socket (control-protocol.ts). */
import { connect, type Socket } from 'node:net';
import { ComicranError, type ErrorCode } from '../base/errors.ts';
import { MAX_LINE_BYTES, REPLY_SCHEMA, type Request } from './control-protocol.ts';
import { readJsonLines } from './json-lines.ts';
import { sandboxPaths } from './naming.ts';
import { noAnswer } from './no-answer.ts';
import type { SandboxState } from './state.ts';

type Pending = { resolve(state: SandboxState): void; reject(error: Error): void };
/** A request without its number. */
type Call = Request extends infer R ? (R extends Request ? Omit<R, 'id'> : never) : never;

export class ControlClient {
  readonly id: string;
  /** Resolves when the connection is gone, for whatever reason. `state` then is the last that was heard. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #pending = new Map<number, Pending>();
  readonly #listeners = new Set<(state: SandboxState) => void>();
  #state: SandboxState;
  #nextId = 1;

  /**
   * Connects to the jailor of a sandbox; `state` is known afterwards.
   *
   * @throws ComicranError sandbox.unknown, sandbox.not-running (no jailor answers)
   */
  static async connect(stateDirectory: string, id: string): Promise<ControlClient> {
    const socket = connect(sandboxPaths(stateDirectory, id).controlSocket);
    const client = new ControlClient(id, socket);
    await new Promise<void>((resolve, reject) => {
      const off = client.onState(() => {
        off();
        resolve();
      });
      socket.once('error', (cause) => reject(noAnswer(stateDirectory, id, cause)));
      socket.once('close', () => reject(noAnswer(stateDirectory, id)));
    });
    return client;
  }

  private constructor(id: string, socket: Socket) {
    this.id = id;
    this.#socket = socket;
    // Set by the first message, before connect() hands the client out.
    this.#state = undefined as unknown as SandboxState;
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        const error = new ComicranError('peer.died', `the jailor of sandbox ${id} is gone`);
        for (const { reject } of this.#pending.values()) reject(error);
        this.#pending.clear();
        resolve();
      });
    });
    socket.on('error', () => undefined);
    readJsonLines(
      socket,
      MAX_LINE_BYTES,
      (value) => this.#receive(value),
      () => undefined,
    );
  }

  /** As of the last transition. */
  get state(): SandboxState {
    return this.#state;
  }

  /** Called after each transition. @returns what ends it. */
  onState(listener: (state: SandboxState) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves in the first state that fits; rejects with peer.died when jailor is gone before. */
  async waitFor(fits: (state: SandboxState) => boolean): Promise<SandboxState> {
    if (fits(this.#state)) return this.#state;
    return new Promise((resolve, reject) => {
      const off = this.onState((state) => {
        if (!fits(state)) return;
        off();
        resolve(state);
      });
      void this.closed.then(() => reject(new ComicranError('peer.died', `the jailor of sandbox ${this.id} is gone`)));
    });
  }

  /** Asks, rather than trusting the events. */
  status(): Promise<SandboxState> {
    return this.#call({ method: 'status' });
  }

  /** @throws ComicranError sandbox.not-running */
  signal(signal: NodeJS.Signals): Promise<SandboxState> {
    return this.#call({ method: 'signal', signal });
  }

  /** Ends the sandbox. Resolves with the final state, when everything but its directory has been taken down. */
  terminate(options: { readonly signal?: NodeJS.Signals; readonly graceMs: number }): Promise<SandboxState> {
    return this.#call({ method: 'terminate', signal: options.signal ?? 'SIGTERM', graceMs: options.graceMs });
  }

  /** Created: starts the root process. @throws ComicranError sandbox.not-running, sandbox.setup-failed */
  run(): Promise<SandboxState> {
    return this.#call({ method: 'run' });
  }

  /** @throws ComicranError sandbox.not-running, migration.busy, deadline */
  freeze(): Promise<SandboxState> {
    return this.#call({ method: 'freeze' });
  }

  thaw(): Promise<SandboxState> {
    return this.#call({ method: 'thaw' });
  }

  /** A migration begins, or has left it here. @throws ComicranError migration.refused: why it cannot be moved now */
  setMoving(moving: boolean): Promise<SandboxState> {
    return this.#call({ method: 'moving', moving });
  }

  /** A program is about to be started in it; it counts until this connection is closed. */
  admitGuest(): Promise<SandboxState> {
    return this.#call({ method: 'guest' });
  }

  /** Skeleton: a process that was restored out of the hatchery becomes the root process. */
  adopt(hostPid: number): Promise<SandboxState> {
    return this.#call({ method: 'adopt', hostPid });
  }

  /** The process lives elsewhere now. Resolves as {@link terminate} does. */
  release(): Promise<SandboxState> {
    return this.#call({ method: 'release' });
  }

  /**
   * Keeps a copy of a descriptor of this process in jailor, which outlives it; {@link SandboxState.kept} says where.
   * @throws ComicranError process.gone
   */
  keep(name: string, descriptor: number): Promise<SandboxState> {
    return this.#call({ method: 'keep', name, pid: process.pid, descriptor });
  }

  /** Closes what jailor keeps under a name. */
  drop(name: string): Promise<SandboxState> {
    return this.#call({ method: 'drop', name });
  }

  /** The sandbox goes on. */
  close(): void {
    this.#socket.destroy();
  }

  #call(call: Call): Promise<SandboxState> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      if (!this.#socket.writable) {
        reject(new ComicranError('peer.died', `the jailor of sandbox ${this.id} is gone`));
        return;
      }
      this.#pending.set(id, { resolve, reject });
      this.#socket.write(`${JSON.stringify({ id, ...call })}\n`);
    });
  }

  #receive(value: unknown): void {
    const reply = REPLY_SCHEMA.safeParse(value);
    if (!reply.success) {
      this.#socket.destroy(new ComicranError('peer.protocol', `the jailor of sandbox ${this.id} sent nonsense`));
      return;
    }
    if ('event' in reply.data) {
      this.#state = reply.data.state;
      for (const listener of this.#listeners) listener(this.#state);
      return;
    }
    const pending = this.#pending.get(reply.data.id);
    this.#pending.delete(reply.data.id);
    if ('result' in reply.data) {
      pending?.resolve(reply.data.result);
      return;
    }
    const { code, message, hint } = reply.data.error;
    // The schema has checked that the code is one.
    pending?.reject(new ComicranError(code as ErrorCode, message, hint === undefined ? {} : { hint }));
  }
}
