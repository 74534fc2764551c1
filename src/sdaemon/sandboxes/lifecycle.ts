/** Starting, ending and finding again the sandboxes of this machine. */
import type { Client } from '@connectrpc/connect';
import type { Sdn } from '../../api/gen/comicran_pb.ts';
import { Cleanup } from '../../base/cleanup.ts';
import { ComicranError, messageOf } from '../../base/errors.ts';
import type { FullConfig } from '../../base/sandbox-config.ts';
import type { Exit, SandboxState } from '../../jailor/state.ts';
import type { Log } from '../log.ts';
import type { PortPublisher } from '../publish/publisher.ts';
import { retry } from '../retry.ts';
import type { EarlierLife, Jail, Jailors } from './jailors.ts';
import { LostJailors, type LostSandbox } from './lost-jailors.ts';
import { putMemoryLimitBack } from './memory-limit.ts';
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
  /** Releases that the sdn has not answered yet, by sandbox. A new start must not be hit by an old one. */
  readonly #releasing = new Map<string, { readonly stop: AbortController; readonly over: Promise<void> }>();

  readonly #lost: LostJailors;

  constructor(world: LifecycleWorld) {
    this.#world = world;
    this.#lost = new LostJailors({
      start: (lost, restarts) => this.#startAgain(lost, restarts),
      end: async ({ config: { id } }, why) => {
        world.log(`${id}: is not started again: ${why}`);
        await this.#endedHere(id);
      },
      now: () => Date.now(),
      stopping: world.stopping,
    });
  }

  /**
   * On success the sandbox runs, the sdn leads to it and its ports are published; on failure nothing of it is left.
   * @returns what had to be done for its files
   */
  async start(config: FullConfig): Promise<SandboxState['files']> {
    this.#lost.cancel(config.id);
    return this.#start(config);
  }

  async #start(config: FullConfig, earlier?: EarlierLife): Promise<SandboxState['files']> {
    const { registry, jailors, sdn, publisher, vm, address, log } = this.#world;
    const { id } = config;
    const cleanup = new Cleanup();
    const previous = registry.find(id);
    registry.reserve(id, { state: 'creating', config });
    cleanup.defer(`forget ${id}`, () => registry.remove(id));
    try {
      if (previous !== undefined) await jailors.forget(id);
      await this.#stopReleasing(id);
      // A record that was there before is not this start's to take back.
      const { location: known } = await sdn.locate({ sandbox: id });
      const claim = await sdn.claim({
        sandbox: id,
        address: config.network.address,
        vm,
        vmAddress: address,
        ports: portMessages(config.network.ports),
      });
      const epoch = claim.location?.epoch ?? 0n;
      if (known === undefined) {
        cleanup.defer(`release ${id} at the sdn`, async () => void (await sdn.release({ sandbox: id, vm, epoch })));
      }
      const jail = await jailors.start(config, 'process', earlier);
      cleanup.defer(`end ${id}`, async () => void (await jail.terminate(9, 0)));
      await publisher.publish(id, config.network);
      registry.move(id, 'creating', () => ({ state: 'running', config, jail, epoch }));
      cleanup.keep();
      void this.watch(id, jail);
      this.#raiseBuffers(id, jail);
      log(`${id}: runs, process ${jail.state().process?.pid ?? '?'}, epoch ${epoch}`);
      return jail.state().files;
    } catch (cause) {
      for (const failure of await cleanup.run()) log(`${id}: clean-up: ${messageOf(failure)}`);
      throw cause;
    }
  }

  /** @returns how it ended. Afterwards nothing of the sandbox is left, its log neither. */
  async terminate(id: string, signal: number, graceMs: number): Promise<Exit> {
    const { registry, jailors } = this.#world;
    if (registry.find(id) === undefined && (await this.#releaseOrphan(id))) {
      return { reason: 'jailor-lost', code: null, signal: null };
    }
    const entry = registry.get(id);
    if (entry.state === 'stopped') {
      if (this.#lost.cancel(id)) await this.#endedHere(id);
      await jailors.forget(id);
      registry.remove(id);
      return entry.exit;
    }
    const { config, jail, epoch } = registry.expect(id, 'running');
    registry.set(id, { state: 'ending', config, jail, epoch });
    try {
      const exit = await jail.terminate(signal, graceMs);
      await this.#ended(id, epoch);
      await jailors.forget(id);
      registry.remove(id);
      return exit;
    } catch (thrown) {
      registry.set(id, { state: 'running', config, jail, epoch });
      throw thrown;
    }
  }

  /** @returns how it ended. It stays to be looked at, its log too. */
  async stop(id: string, signal: number, graceMs: number): Promise<Exit> {
    const { registry } = this.#world;
    const entry = registry.get(id);
    if (entry.state === 'stopped') {
      if (this.#lost.cancel(id)) await this.#endedHere(id);
      return entry.exit;
    }
    const { config, jail, epoch } = registry.expect(id, 'running');
    registry.set(id, { state: 'ending', config, jail, epoch });
    try {
      const exit = await jail.terminate(signal, graceMs);
      registry.set(id, { state: 'stopped', config, last: jail.state(), exit });
      await this.#ended(id, epoch);
      return exit;
    } catch (thrown) {
      registry.set(id, { state: 'running', config, jail, epoch });
      throw thrown;
    }
  }

  /** A record in this machine's name of a sandbox that it does not have: what is left of a start that broke off. */
  async #releaseOrphan(id: string): Promise<boolean> {
    const { sdn, vm, log } = this.#world;
    const { location } = await sdn.locate({ sandbox: id });
    if (location === undefined || location.vm !== vm) return false;
    await this.#release(id, location.epoch);
    log(`${id}: was on record here and is not there: the record is released`);
    return true;
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
  async lost(config: FullConfig, jail: Jail, epoch: bigint): Promise<void> {
    const { registry } = this.#world;
    await jail.release();
    registry.set(config.id, { state: 'stopped', config, last: jail.state(), exit: await jail.exited });
    await this.#ended(config.id, epoch);
  }

  /**
   * Notes the end of a sandbox that ends by itself; it stays to be looked at.
   * @returns resolves when that has happened, and been noted. Does not reject.
   */
  async watch(id: string, jail: Jail): Promise<void> {
    const { registry, log } = this.#world;
    const exit = await jail.exited;
    const entry = registry.find(id);
    // Terminated or moved away on request: who asked for it does the rest. In a migration: its end sees it.
    const isAsked = exit.reason === 'released' || exit.reason === 'terminated';
    if (entry?.state !== 'running' || entry.jail !== jail || isAsked) return;
    const last = jail.state();
    registry.set(id, { state: 'stopped', config: entry.config, last, exit });
    if (exit.reason === 'jailor-lost' && (await this.#startLater({ config: entry.config, last, exit }))) return;
    log(`${id}: has ended (${exit.signal ?? `exit ${exit.code ?? '?'}`})`);
    await this.#ended(id, entry.epoch);
  }

  /** Where the policy has it so. It keeps its place at the sdn meanwhile. */
  async #startLater(lost: LostSandbox): Promise<boolean> {
    const { id } = lost.config;
    if (!this.#lost.startLater(lost)) return false;
    this.#world.log(`${id}: its jailor is gone; it is started again`);
    await this.#unpublish(id);
    return true;
  }

  async #startAgain(lost: LostSandbox, restarts: number): Promise<void> {
    const { registry } = this.#world;
    const { config, last, exit } = lost;
    const stopped = registry.find(config.id);
    // Somebody has done something else with it.
    if (stopped?.state !== 'stopped' || stopped.exit !== exit) return;
    try {
      await this.#start(config, { startedAtMs: undefined, restarts });
    } catch (thrown) {
      if (registry.find(config.id) === undefined) registry.set(config.id, { state: 'stopped', config, last, exit });
      throw thrown;
    }
  }

  /** The name, address, routes and ports of a sandbox that is no more are free again; at the sdn as soon as it answers. */
  async #ended(id: string, epoch: bigint): Promise<void> {
    const { log } = this.#world;
    await this.#unpublish(id);
    try {
      await this.#release(id, epoch);
    } catch (thrown) {
      log(`${id}: at the sdn: ${messageOf(thrown)}`);
      const stop = new AbortController();
      this.#releasing.set(id, { stop, over: this.#releaseLater(id, epoch, stop.signal) });
    }
  }

  async #unpublish(id: string): Promise<void> {
    const { publisher, log } = this.#world;
    await publisher.unpublish(id).catch((thrown: unknown) => log(`${id}: its ports: ${messageOf(thrown)}`));
  }

  /** The same for one that has waited: by the epoch that stands on record. */
  async #endedHere(id: string): Promise<void> {
    const { sdn, vm, log } = this.#world;
    try {
      const { location } = await sdn.locate({ sandbox: id });
      if (location?.vm === vm) await this.#ended(id, location.epoch);
    } catch (thrown) {
      log(`${id}: at the sdn: ${messageOf(thrown)}`);
    }
  }

  async #stopReleasing(id: string): Promise<void> {
    const releasing = this.#releasing.get(id);
    this.#releasing.delete(id);
    releasing?.stop.abort();
    await releasing?.over;
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

  async #releaseLater(id: string, epoch: bigint, stop: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([this.#world.stopping, stop]);
    const pauses = { firstPauseMs: 500, longestPauseMs: 10_000, signal };
    await retry(() => this.#release(id, epoch), { ...pauses, onFailure: () => undefined }).catch(() => undefined);
  }

  /**
   * At the daemon's start: what ran before it goes on under it. Unfinished migrations have been ended before. One sandbox
   * that makes trouble does not keep the others from being found.
   * @throws ComicranError sdn.unreachable: to be tried again
   */
  async adoptAll(): Promise<void> {
    const { jailors, sdn, vm, registry } = this.#world;
    const { living, ended } = await jailors.findAll();
    for (const state of ended) await this.#contained(state.id, () => this.#findEnded(state));
    for (const jail of living) await this.#contained(jail.id, () => this.#findLiving(jail));
    const { locations } = await sdn.listLocations({});
    const known = new Set([...ended.map(({ id }) => id), ...living.map(({ id }) => id)]);
    for (const { sandbox, vm: owner } of locations) {
      if (owner !== vm || known.has(sandbox) || registry.find(sandbox) !== undefined) continue;
      await this.#contained(sandbox, async () => void (await this.#releaseOrphan(sandbox)));
    }
  }

  async #contained(id: string, step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (thrown) {
      if (thrown instanceof ComicranError && ['sdn.unreachable', 'deadline'].includes(thrown.code)) throw thrown;
      this.#world.log(`${id}: cannot be taken over, an operator is needed: ${messageOf(thrown)}`);
    }
  }

  async #findEnded(state: SandboxState): Promise<void> {
    const { registry, jailors, sdn, vm } = this.#world;
    const { location } = await sdn.locate({ sandbox: state.id });
    if (location !== undefined && location.vm !== vm) {
      // It has moved on since; nothing of it is to be looked at here.
      await jailors.forget(state.id);
      return;
    }
    const exit = state.exit ?? { reason: 'jailor-lost', code: null, signal: null };
    const config = jailors.readConfig(state.id);
    registry.set(state.id, { state: 'stopped', config, last: state, exit });
    if (location === undefined) return;
    // Its jailor was lost while this machine had no daemon; the machine itself may have been down.
    if (exit.reason === 'jailor-lost' && (await this.#startLater({ config, last: state, exit }))) return;
    await this.#ended(state.id, location.epoch);
  }

  async #findLiving(jail: Jail): Promise<void> {
    const { registry, jailors, sdn, publisher, vm, log } = this.#world;
    // Its process is still needed by the machine that it has moved to.
    if (registry.find(jail.id)?.state === 'migrating') return;
    const { location } = await sdn.locate({ sandbox: jail.id });
    if (location === undefined || location.vm !== vm) {
      log(`${jail.id}: is here, but ${location?.vm ?? 'nobody'} owns it: taking it down`);
      await jail.release();
      await jailors.forget(jail.id);
      return;
    }
    const config = jailors.readConfig(jail.id);
    registry.set(jail.id, { state: 'running', config, jail, epoch: location.epoch });
    void this.watch(jail.id, jail);
    log(`${jail.id}: found again, process ${jail.state().process?.pid ?? '?'}, epoch ${location.epoch}`);
    // A migration of the run before may have left it so; there is none now.
    await jail.setMoving(false).catch((thrown: unknown) => log(`${jail.id}: ${messageOf(thrown)}`));
    await publisher.publish(jail.id, config.network);
    await putMemoryLimitBack(jail, config, log);
  }
}

/** @throws ComicranError sandbox.unknown for a name that no sandbox can have, before it becomes part of a path. */
export function checkName(id: string): void {
  if (/^[a-z][a-z0-9-]{0,31}$/.test(id)) return;
  throw new ComicranError('sandbox.unknown', `'${id}' is not a name of a sandbox`);
}
