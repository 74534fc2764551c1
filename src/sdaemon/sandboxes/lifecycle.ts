/** Starting, ending and finding again the sandboxes of this machine. */
import type { Client } from '@connectrpc/connect';
import type { Sdn } from '../../api/gen/comicran_pb.ts';
import { Cleanup } from '../../base/cleanup.ts';
import { ComicranError, messageOf } from '../../base/errors.ts';
import type { FullConfig } from '../../base/sandbox-config.ts';
import type { Exit } from '../../jailor/state.ts';
import type { Log } from '../log.ts';
import type { PortPublisher } from '../publish/publisher.ts';
import { retry } from '../retry.ts';
import type { Jail, Jailors } from './jailors.ts';
import type { Registry } from './registry.ts';
import { portMessages } from './sandbox-message.ts';

export type LifecycleWorld = {
  readonly vm: string;
  /** This machine's address, as the SDN node reaches it. */
  readonly address: string;
  readonly registry: Registry;
  readonly jailors: Jailors;
  readonly sdn: Client<typeof Sdn>;
  readonly publisher: PortPublisher;
  readonly log: Log;
  /** Gives the UDP sockets of a process receive queues that last for a stop. */
  readonly raiseBuffers: (pid: number) => void;
  /** Aborted when the daemon ends. */
  readonly stopping: AbortSignal;
};

const BUFFER_DELAYS_MS = [200, 1_000, 5_000];

export class Lifecycle {
  readonly #world: LifecycleWorld;

  constructor(world: LifecycleWorld) {
    this.#world = world;
  }

  /** On success the sandbox runs, the sdn leads to it and its ports are published; on failure nothing of it is left. */
  async start(config: FullConfig): Promise<void> {
    const { registry, jailors, sdn, publisher, vm, address, log } = this.#world;
    const { id } = config;
    const cleanup = new Cleanup();
    const previous = registry.find(id);
    registry.reserve(id, { state: 'creating', config });
    cleanup.defer(`forget ${id}`, () => registry.remove(id));
    try {
      if (previous !== undefined) await jailors.forget(id);
      const claim = await sdn.claim({
        sandbox: id,
        address: config.network.address,
        vm,
        vmAddress: address,
        ports: portMessages(config.network.ports),
      });
      const epoch = claim.location?.epoch ?? 0n;
      cleanup.defer(`release ${id} at the sdn`, async () => void (await sdn.release({ sandbox: id, vm, epoch })));
      const jail = await jailors.start(config, 'process');
      cleanup.defer(`end ${id}`, async () => void (await jail.terminate(9, 0)));
      await publisher.publish(id, config.network);
      registry.move(id, 'creating', () => ({ state: 'running', config, jail, epoch }));
      cleanup.keep();
      this.watch(id, jail);
      this.#raiseBuffers(id, jail);
      log(`${id}: runs, process ${jail.state().process?.pid ?? '?'}, epoch ${epoch}`);
    } catch (cause) {
      for (const failure of await cleanup.run()) log(`${id}: clean-up: ${messageOf(failure)}`);
      throw cause;
    }
  }

  /** @returns how it ended. Afterwards nothing of the sandbox is left, its log neither. */
  async terminate(id: string, signal: number, graceMs: number): Promise<Exit> {
    const { registry, jailors } = this.#world;
    const entry = registry.get(id);
    if (entry.state === 'stopped') {
      await jailors.forget(id);
      registry.remove(id);
      return entry.exit;
    }
    const { jail, epoch } = registry.expect(id, 'running');
    const exit = await jail.terminate(signal, graceMs);
    await this.#ended(id, epoch);
    await jailors.forget(id);
    registry.remove(id);
    return exit;
  }

  /** Soon, when the process has bound its sockets, so that the time before a migration is like the time in it. */
  #raiseBuffers(id: string, jail: Jail): void {
    const { registry, raiseBuffers, log } = this.#world;
    for (const delayMs of BUFFER_DELAYS_MS) {
      const look = (): void => {
        const pid = jail.state().process?.pid;
        if (pid === undefined || registry.find(id)?.state !== 'running') return;
        try {
          raiseBuffers(pid);
        } catch (thrown) {
          log(`${id}: its receive queues stay as they are: ${messageOf(thrown)}`);
        }
      };
      setTimeout(look, delayMs).unref();
    }
  }

  /** A sandbox of this machine whose process is gone, though nobody asked for its end. */
  async lost(id: string, jail: Jail): Promise<void> {
    const { registry } = this.#world;
    const { config, epoch } = registry.expect(id, 'running');
    await jail.release();
    registry.set(id, { state: 'stopped', config, last: jail.state(), exit: await jail.exited });
    await this.#ended(id, epoch);
  }

  /** Notes the end of a sandbox that ends by itself; it stays to be looked at. */
  watch(id: string, jail: Jail): void {
    const { registry, log } = this.#world;
    void jail.exited.then(async (exit) => {
      const entry = registry.find(id);
      // Terminated or moved away on request: who asked for it does the rest. In a migration: its end sees it.
      if (
        entry?.state !== 'running' ||
        entry.jail !== jail ||
        exit.reason === 'released' ||
        exit.reason === 'terminated'
      )
        return;
      registry.set(id, { state: 'stopped', config: entry.config, last: jail.state(), exit });
      log(`${id}: has ended (${exit.signal ?? `exit ${exit.code ?? '?'}`})`);
      await this.#ended(id, entry.epoch);
    });
  }

  /** The name, address, routes and ports of a sandbox that is no more are free again; at the sdn as soon as it answers. */
  async #ended(id: string, epoch: bigint): Promise<void> {
    const { publisher, log } = this.#world;
    await publisher.unpublish(id).catch((thrown: unknown) => log(`${id}: its ports: ${messageOf(thrown)}`));
    try {
      await this.#release(id, epoch);
    } catch (thrown) {
      log(`${id}: at the sdn: ${messageOf(thrown)}`);
      void this.#releaseLater(id, epoch);
    }
  }

  async #release(id: string, epoch: bigint): Promise<void> {
    const { sdn, vm } = this.#world;
    try {
      await sdn.release({ sandbox: id, vm, epoch });
    } catch (thrown) {
      // Somebody else owns it by now, or nobody: nothing of this machine's is left to be released.
      const done = thrown instanceof ComicranError && ['ownership.lost', 'sandbox.unknown'].includes(thrown.code);
      if (!done) throw thrown;
    }
  }

  async #releaseLater(id: string, epoch: bigint): Promise<void> {
    const pauses = { firstPauseMs: 500, longestPauseMs: 10_000, signal: this.#world.stopping };
    await retry(() => this.#release(id, epoch), { ...pauses, onFailure: () => undefined }).catch(() => undefined);
  }

  /** At the daemon's start: what ran before it goes on under it. Unfinished migrations have been ended before. */
  async adoptAll(): Promise<void> {
    const { registry, jailors, sdn, publisher, vm, log } = this.#world;
    const { living, ended } = await jailors.findAll();
    for (const state of ended) {
      const exit = state.exit ?? { reason: 'jailor-lost', code: null, signal: null };
      registry.set(state.id, { state: 'stopped', config: jailors.readConfig(state.id), last: state, exit });
      const { location } = await sdn.locate({ sandbox: state.id });
      if (location?.vm === vm) await this.#ended(state.id, location.epoch);
    }
    for (const jail of living) {
      const config = jailors.readConfig(jail.id);
      const { location } = await sdn.locate({ sandbox: jail.id });
      if (location === undefined || location.vm !== vm) {
        const owner = location === undefined ? 'nobody' : location.vm;
        log(`${jail.id}: is here, but ${owner} owns it: taking it down`);
        await jail.release();
        await jailors.forget(jail.id);
        continue;
      }
      registry.set(jail.id, { state: 'running', config, jail, epoch: location.epoch });
      await publisher.publish(jail.id, config.network);
      this.watch(jail.id, jail);
      log(`${jail.id}: found again, process ${jail.state().process?.pid ?? '?'}, epoch ${location.epoch}`);
    }
  }
}

/** @throws ComicranError sandbox.unknown for a name that no sandbox can have, before it becomes part of a path. */
export function checkName(id: string): void {
  if (/^[a-z][a-z0-9-]{0,31}$/.test(id)) return;
  throw new ComicranError('sandbox.unknown', `'${id}' is not a name of a sandbox`);
}
