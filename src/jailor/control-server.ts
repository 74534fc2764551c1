/** jailor's end of the control socket (control-protocol.ts). */
import { once } from 'node:events';
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { unreachable } from '../base/assert.ts';
import { ComicranError, messageOf } from '../base/errors.ts';
import type { Reply, Request } from './control-protocol.ts';
import { readJsonLines } from './json-lines.ts';
import type { SandboxState } from './state.ts';
import type { Supervisor } from './supervisor.ts';

/** sun_path of unix(7), with its final NUL. */
const MAX_SOCKET_PATH_BYTES = 107;
const CLOSE_TIMEOUT_MS = 1_000;
const CONNECT_TIMEOUT_MS = 1_000;

/** @throws ComicranError config.bad-path when no socket can have this name. */
export function checkSocketPath(path: string): void {
  const length = Buffer.byteLength(path);
  if (length <= MAX_SOCKET_PATH_BYTES) return;
  throw new ComicranError('config.bad-path', `the path ${path} is too long for a socket (${length} bytes)`, {
    hint: `Choose a state directory with a shorter path: ${MAX_SOCKET_PATH_BYTES} bytes are the most.`,
  });
}

export class ControlServer {
  readonly #supervisor: Supervisor;
  readonly #server: Server;
  readonly #clients = new Set<Socket>();
  readonly #pending = new Set<Promise<void>>();
  readonly #firstClient = Promise.withResolvers<void>();

  constructor(supervisor: Supervisor) {
    this.#supervisor = supervisor;
    this.#server = createServer((socket) => this.#serve(socket));
    supervisor.onState((state) => this.#tellAll(state));
  }

  /** Only root may connect. */
  async listen(): Promise<void> {
    const path = this.#supervisor.paths.controlSocket;
    this.#server.listen(path);
    await once(this.#server, 'listening');
    chmodSync(path, 0o600);
  }

  #serve(socket: Socket): void {
    this.#clients.add(socket);
    this.#firstClient.resolve();
    socket.once('close', () => this.#clients.delete(socket));
    // The client went away: nothing to be done about it, and nothing depends on it.
    socket.on('error', () => undefined);
    send(socket, { event: 'state', state: this.#supervisor.state });
    // Schemas are loaded when somebody asks for the first time, which keeps the start of a sandbox short.
    const protocol = import('./control-protocol.ts');
    const receive = (value: unknown): void => {
      const done = protocol.then(({ REQUEST_SCHEMA }) => {
        const request = REQUEST_SCHEMA.safeParse(value);
        return request.success ? this.#answer(socket, request.data) : refuse(socket, value, request.error.message);
      });
      this.#pending.add(done);
      void done.finally(() => this.#pending.delete(done));
    };
    readJsonLines(socket, 65_536, receive, () => undefined);
  }

  async #answer(socket: Socket, request: Request): Promise<void> {
    try {
      send(socket, { id: request.id, result: await this.#carryOut(request, socket) });
    } catch (thrown) {
      send(socket, { id: request.id, error: errorBody(thrown) });
    }
  }

  async #carryOut(request: Request, socket: Socket): Promise<SandboxState> {
    switch (request.method) {
      case 'status':
        break;
      case 'signal':
        this.#supervisor.signal(request.signal);
        break;
      case 'terminate':
        await this.#supervisor.terminate(request.signal, request.graceMs);
        break;
      case 'run':
        return this.#supervisor.run();
      case 'freeze':
        return this.#supervisor.freeze();
      case 'thaw':
        return this.#supervisor.thaw();
      case 'moving':
        return this.#supervisor.setMoving(request.moving);
      case 'guest':
        if (socket.destroyed) break;
        socket.once('close', this.#supervisor.admitGuest());
        break;
      case 'adopt':
        return this.#supervisor.adopt(request.hostPid);
      case 'release':
        await this.#supervisor.release();
        break;
      case 'keep':
        return this.#supervisor.keep(request.name, request.pid, request.descriptor);
      case 'drop':
        return this.#supervisor.drop(request.name);
      default:
        return unreachable(request);
    }
    return this.#supervisor.state;
  }

  #tellAll(state: SandboxState): void {
    for (const client of this.#clients) send(client, { event: 'state', state });
  }

  /** Resolves when somebody has connected, or when nobody has for a while. */
  async metSomebody(): Promise<void> {
    const timer = setTimeout(() => this.#firstClient.resolve(), CONNECT_TIMEOUT_MS);
    await this.#firstClient.promise;
    clearTimeout(timer);
  }

  /** Takes the socket's name away. Who is connected stays so. */
  stopListening(): void {
    this.#server.close();
    rmSync(this.#supervisor.paths.controlSocket, { force: true });
  }

  /** After the last transition, and after {@link stopListening}: everybody gets what is due to them. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#pending);
    const closed = [...this.#clients].map((client) => new Promise((resolve) => client.once('close', resolve)));
    for (const client of this.#clients) client.end();
    const timer = setTimeout(() => {
      for (const client of this.#clients) client.destroy();
    }, CLOSE_TIMEOUT_MS);
    await Promise.all(closed);
    clearTimeout(timer);
  }
}

function send(socket: Socket, reply: Reply): void {
  if (socket.writable) socket.write(`${JSON.stringify(reply)}\n`);
}

function refuse(socket: Socket, value: unknown, problem: string): void {
  const id = typeof value === 'object' && value !== null && 'id' in value ? Number(value.id) : 0;
  send(socket, {
    id: Number.isSafeInteger(id) ? id : 0,
    error: { code: 'peer.protocol', message: `not a request: ${problem}` },
  });
}

function errorBody(thrown: unknown): Extract<Reply, { error: unknown }>['error'] {
  if (!(thrown instanceof ComicranError)) return { code: 'sandbox.not-running', message: messageOf(thrown) };
  return { code: thrown.code, message: thrown.message, ...(thrown.hint === undefined ? {} : { hint: thrown.hint }) };
}
