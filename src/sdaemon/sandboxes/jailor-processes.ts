/** Jailors as processes of their own, one a sandbox; they outlive this daemon. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { ComicranError, messageOf } from '../../base/errors.ts';
import { FULL_CONFIG_MAX_BYTES, parseFullConfig } from '../../base/full-config.ts';
import type { FullConfig } from '../../base/sandbox-config.ts';
import { readTextFile } from '../../base/text-file.ts';
import {
  ControlClient,
  cleanStale,
  DEFAULT_HATCHERY_PID,
  type Exit,
  findSandboxState,
  forgetSandbox,
  listSandboxes,
  type SandboxState,
  sandboxPaths,
  startSandbox,
} from '../../jailor/index.ts';
import type { Log } from '../log.ts';
import type { EarlierLife, Jail, Jailors } from './jailors.ts';

const LOST: Exit = { reason: 'jailor-lost', code: null, signal: null };

function signalName(number: number): NodeJS.Signals {
  const found = Object.entries(constants.signals).find(([, value]) => value === number);
  return (found?.[0] ?? 'SIGTERM') as NodeJS.Signals;
}

export class JailorProcesses implements Jailors {
  readonly #stateDirectory: string;
  readonly #log: Log;

  constructor(stateDirectory: string, log: Log) {
    this.#stateDirectory = stateDirectory;
    this.#log = log;
  }

  async start(config: FullConfig, kind: 'process' | 'skeleton', earlier?: EarlierLife): Promise<Jail> {
    const skeleton = kind === 'skeleton' ? { skeleton: { hatcheryPid: DEFAULT_HATCHERY_PID } } : {};
    const restartCount = earlier?.restarts ?? 0;
    const control = await startSandbox({ stateDirectory: this.#stateDirectory, config, restartCount, ...skeleton });
    const startedAtMs = earlier?.startedAtMs;
    writeFileSync(sandboxPaths(this.#stateDirectory, config.id).config, JSON.stringify(config), { mode: 0o600 });
    if (startedAtMs !== undefined) writeFileSync(this.#startedFile(config.id), String(startedAtMs), { mode: 0o600 });
    return this.#jail(control);
  }

  /** Beside jailor's own state, which knows only when it was itself started: a process that has moved here is older. */
  readonly #startedFile = (id: string): string => join(sandboxPaths(this.#stateDirectory, id).directory, 'started');

  /** Of one that has come from another machine. */
  #cameAt(id: string): number | undefined {
    const path = this.#startedFile(id);
    const startedAtMs = existsSync(path) ? Number(readFileSync(path, 'utf8')) : Number.NaN;
    return startedAtMs > 0 ? startedAtMs : undefined;
  }

  #since(state: SandboxState, cameAtMs = this.#cameAt(state.id)): SandboxState {
    // Started again here: what came was the process before.
    const again = state.restarts.startedAtMs;
    if (again !== null) return { ...state, startedAtMs: again };
    return cameAtMs !== undefined && cameAtMs > 0 ? { ...state, startedAtMs: cameAtMs } : state;
  }

  async findAll(): Promise<{ living: Jail[]; ended: SandboxState[] }> {
    const { cleaned, failures } = await cleanStale(this.#stateDirectory);
    for (const failure of failures) this.#log(`clean-up of an earlier run: ${failure.message}`);
    for (const { id, wasLost } of cleaned) if (wasLost) this.#log(`${id}: its jailor was gone; taken down`);
    const living: Jail[] = [];
    const ended: SandboxState[] = [];
    for (const state of listSandboxes(this.#stateDirectory)) {
      // Without its configuration it was started by hand with jailor, and is none of this daemon's.
      if (!existsSync(sandboxPaths(this.#stateDirectory, state.id).config)) continue;
      if (state.phase === 'exited') ended.push(this.#since(state));
      else living.push(...(await this.#reattach(state.id)));
    }
    return { living, ended };
  }

  /** None where it ended between the look at its state and the connection: the next look finds it ended. */
  async #reattach(id: string): Promise<Jail[]> {
    try {
      return [this.#jail(await ControlClient.connect(this.#stateDirectory, id))];
    } catch (thrown) {
      this.#log(`${id}: ${messageOf(thrown)}`);
      return [];
    }
  }

  async forget(id: string): Promise<void> {
    await forgetSandbox(this.#stateDirectory, id);
  }

  readConfig(id: string): FullConfig {
    const path = sandboxPaths(this.#stateDirectory, id).config;
    return parseFullConfig(readTextFile(path, FULL_CONFIG_MAX_BYTES), path);
  }

  #jail(control: ControlClient): Jail {
    const exited = this.#exited(control);
    // Once, not at every look: it does not change.
    const cameAtMs = this.#cameAt(control.id) ?? Number.NaN;
    return {
      id: control.id,
      state: () => this.#since(control.state, cameAtMs),
      async terminate(signal, graceMs) {
        return (await control.terminate({ signal: signalName(signal), graceMs })).exit ?? LOST;
      },
      async freeze() {
        await control.freeze();
      },
      async thaw() {
        await control.thaw();
      },
      async setMoving(moving) {
        await control.setMoving(moving);
      },
      async adopt(hostPid) {
        await control.adopt(hostPid);
      },
      async keep(name, descriptor) {
        await control.keep(name, descriptor);
      },
      async drop(name) {
        await control.drop(name);
      },
      async release() {
        // The process may have ended already, and jailor with it: then it takes down, or has taken down, by itself.
        await control.release().catch((thrown: unknown) => {
          if (!(thrown instanceof ComicranError && thrown.code === 'peer.died')) throw thrown;
        });
        await exited;
      },
      exited,
    };
  }

  async #exited(control: ControlClient): Promise<Exit> {
    const closed = control.closed.then(() => undefined);
    const ended = control.waitFor((state) => state.phase === 'exited').catch(() => undefined);
    const last = (await Promise.race([ended, closed])) ?? control.state;
    await closed;
    if (last.phase === 'exited') return last.exit ?? LOST;
    // jailor itself was killed: its sandbox went with it, the rest is taken away here.
    await cleanStale(this.#stateDirectory);
    return findSandboxState(this.#stateDirectory, control.id)?.exit ?? LOST;
  }
}
