/** One run of the load generator over one connected socket. */
import { Buffer } from 'node:buffer';
import { createSocket, type Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { hrtime } from 'node:process';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import { ComicranError } from '../../base/errors.ts';
import type { ClientOptions } from './options.ts';
import { RunRecord } from './run-record.ts';
import { Ticker } from './ticker.ts';

/** Requests that are due within one tick leave together: finer ticks would cost more than they tell. */
const MIN_TICK_NS = 250_000;
/** From the decision to start until request 0 is due: the ticker must be asleep by then. */
const LEAD_MS = 20;
const BUFFER_BYTES = 4 * 1024 * 1024;
/** Between two looks for answers that are missing. */
const LOOK_MS = 20;

/** A socket connected to the server, so that the kernel reports when nobody is there. The caller closes it. */
export async function connect(options: Pick<ClientOptions, 'host' | 'port'>): Promise<Socket> {
  const { address, family } = await lookup(options.host).catch((cause: unknown) => {
    throw new ComicranError('usage', `'${options.host}' cannot be resolved`, {
      hint: 'Correct the name, or write its address.',
      cause,
    });
  });
  const socket = createSocket({
    type: family === 6 ? 'udp6' : 'udp4',
    recvBufferSize: BUFFER_BYTES,
    sendBufferSize: BUFFER_BYTES,
  });
  try {
    const connected = once(socket, 'connect');
    socket.connect(options.port, address);
    await connected;
    return socket;
  } catch (cause) {
    socket.close();
    throw new ComicranError('usage', `${options.host}:${options.port} cannot be reached from here`, { cause });
  }
}

const isRefusal = (error: Error): boolean => 'code' in error && error.code === 'ECONNREFUSED';

export class Run {
  readonly record: RunRecord;
  readonly #socket: Socket;
  /** By performance.now(). */
  #startMs = 0;
  #received = 0;
  refused = 0;
  sendFailures = 0;

  constructor(options: ClientOptions, socket: Socket) {
    const capacity = Math.max(1, Math.round((options.rate * options.durationMs) / 1000));
    this.record = new RunRecord(capacity, options.rate, options.numbering);
    this.#socket = socket;
    socket.on('message', (datagram) => {
      this.#received++;
      this.record.receive(datagram.toString('latin1'), this.#nowUs());
    });
    socket.on('error', (error) => {
      if (isRefusal(error)) this.refused++;
    });
  }

  get startUnixUs(): number {
    return Math.round((performance.timeOrigin + this.#startMs) * 1000);
  }

  #nowUs(): number {
    return (performance.now() - this.#startMs) * 1000;
  }

  /** Sends, then waits for late answers: to the end also when all have come, since a second answer may still follow. */
  async complete(
    { graceMs, patienceMs }: Pick<ClientOptions, 'graceMs' | 'patienceMs'>,
    signal?: AbortSignal,
  ): Promise<void> {
    const ticker = await Ticker.create();
    const stop = (): void => void ticker.stop();
    signal?.addEventListener('abort', stop);
    try {
      await this.#sendAll(ticker, signal);
    } finally {
      signal?.removeEventListener('abort', stop);
      await ticker.stop();
    }
    const deadline = performance.now() + patienceMs;
    while (this.record.answered < this.record.sent && performance.now() < deadline) await sleep(LOOK_MS);
    await sleep(graceMs);
    // Where this program has stood still meanwhile its timer is looked at before its socket, in which answers wait that
    // came in time.
    for (let received = -1; received !== this.#received; await turn()) received = this.#received;
    this.record.finish();
  }

  /** Sends everything on schedule. Returns when the last request has left, or soon after `signal`. */
  async #sendAll(ticker: Ticker, signal: AbortSignal | undefined): Promise<void> {
    const { record } = this;
    this.#startMs = performance.now() + LEAD_MS;
    ticker.begin(hrtime.bigint() + BigInt(LEAD_MS * 1_000_000), Math.max(1e9 / record.rate, MIN_TICK_NS));
    while (signal?.aborted !== true) {
      await ticker.next();
      let nowUs = this.#nowUs();
      while (record.sent < record.capacity && record.intendedUs(record.sent) <= nowUs) {
        this.#send(Buffer.from(record.send(nowUs), 'latin1'));
        nowUs = this.#nowUs();
      }
      if (record.sent === record.capacity) return;
    }
  }

  #send(request: Buffer): void {
    this.#socket.send(request, (error) => {
      if (error === null) return;
      if (!isRefusal(error)) {
        this.sendFailures++;
        return;
      }
      // The kernel reported an earlier refusal in place of sending (udp(7)): the request has not left yet.
      this.refused++;
      this.#socket.send(request, (again) => {
        if (again !== null) this.sendFailures++;
      });
    });
  }
}
