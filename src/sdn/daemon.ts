/** The parts of the sdn daemon, put together. */

import { parseEndpoint } from '../api/endpoint.ts';
import { Sdn } from '../api/gen/comicran_pb.ts';
import type { Identity } from '../api/identity.ts';
import { type Server, serve } from '../api/server.ts';
import { Cleanup } from '../base/cleanup.ts';
import { messageOf } from '../base/errors.ts';
import { type FaultPoint, SdnController, type Take } from './controller.ts';
import type { DataPlane } from './data-plane.ts';
import { sdnHandlers } from './handlers.ts';
import { Practice } from './practice.ts';
import { RecordFace } from './record-face.ts';
import { openRecordStore } from './record-store.ts';
import { hostAddress } from './requests.ts';

const REPAIR_INTERVAL_MS = 10_000;

export type SdnOptions = {
  /** `IP:PORT` */
  readonly listen: string;
  readonly stateDirectory: string;
  readonly identity: Identity;
  /** IPv4 address of this node that UEs send to. */
  readonly serviceAddress: string;
  /** Opened after the record, so that of two daemons the second one touches nothing. */
  readonly openDataPlane: () => DataPlane;
  readonly log: (line: string) => void;
  readonly fault?: (point: FaultPoint) => void;
  /** Stands for the node's (random(4)), which is another one when it has been started anew. */
  readonly bootId?: string;
};

export interface SdnDaemon {
  readonly endpoint: string;
  /** Lets running calls end. Tables and routes stay in the kernel: the traffic goes on. Idempotent. */
  close(): Promise<void>;
}

/** Everything that is to be done later, given up at once. */
class Timers {
  readonly #running = new Set<NodeJS.Timeout>();
  readonly #immediates = new Set<NodeJS.Immediate>();

  start(delayMs: number, run: () => void): void {
    // Not even the millisecond that the shortest timer takes.
    if (delayMs === 0) {
      const immediate = setImmediate(() => {
        this.#immediates.delete(immediate);
        run();
      });
      this.#immediates.add(immediate);
      return;
    }
    const timer = setTimeout(() => {
      this.#running.delete(timer);
      run();
    }, delayMs);
    this.#running.add(timer);
  }

  close(): void {
    for (const timer of this.#running) clearTimeout(timer);
    this.#running.clear();
    for (const immediate of this.#immediates) clearImmediate(immediate);
    this.#immediates.clear();
  }
}

/** Resolves when the kernel holds what the record says and calls are answered. */
export async function startSdn(options: SdnOptions): Promise<SdnDaemon> {
  const { stateDirectory, identity, log, fault } = options;
  const serviceAddress = hostAddress(options.serviceAddress, 'the service address');
  const cleanup = new Cleanup();
  let server: Server;
  try {
    const store = openRecordStore(stateDirectory, options.bootId);
    cleanup.defer('close the record', () => store.close());
    const dataPlane = options.openDataPlane();
    cleanup.defer('close the data plane', () => dataPlane.close());
    const practice = new Practice();
    const timers = new Timers();
    cleanup.defer('forget what was to be done later', () => timers.close());
    const controller = new SdnController({
      store,
      dataPlane,
      serviceAddress,
      nowMs: Date.now,
      after: (delayMs, run) => timers.start(delayMs, run),
      log,
      ...(fault === undefined ? {} : { fault }),
    });
    const timer = setInterval(() => {
      try {
        controller.upkeep();
      } catch (thrown) {
        log(`repair: failed, will be tried again: ${messageOf(thrown)}`);
      }
    }, REPAIR_INTERVAL_MS);
    cleanup.defer('stop repairing', () => clearInterval(timer));
    const { address } = parseEndpoint(options.listen);
    const doer = {
      take: (take: Take) => controller.take(take),
      lead: (take: Take) => controller.lead(take),
      giveBack: (take: Take, epoch: bigint) => controller.giveBack(take, epoch),
      rehearse(take: Take) {
        practice.round();
        return controller.rehearse(take);
      },
    };
    const records = await RecordFace.listen(address, doer, Date.now);
    cleanup.defer('close the record channels', () => records.close());
    server = await serve({
      listen: options.listen,
      identity,
      routes: (router) => router.service(Sdn, sdnHandlers(controller, records)),
      onBug: (call, thrown) => log(`bug in ${call}: ${thrown instanceof Error ? thrown.stack : String(thrown)}`),
      onRefused: (from, reason) => log(`a connection from ${from} was refused: ${reason}`),
    });
    cleanup.defer('stop the server', () => server.close());
    const { length: count } = controller.locations();
    log(`serves ${serviceAddress}, listens on ${server.endpoint}, knows ${count} sandboxes`);
  } catch (thrown) {
    await cleanup.run();
    throw thrown;
  }
  return {
    endpoint: server.endpoint,
    async close() {
      for (const failure of await cleanup.run()) log(failure.message);
    },
  };
}
