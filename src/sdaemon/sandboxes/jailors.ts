/** What the daemon needs of jailor; the real thing starts processes (jailor-processes.ts), a test may not. */
import type { FullConfig } from '../../base/sandbox-config.ts';
import type { Exit, SandboxState } from '../../jailor/state.ts';

/** A sandbox with a living jailor. */
export interface Jail {
  readonly id: string;
  /** As jailor wrote it last; but `startedAtMs` is when the process was started, on whichever machine that was. */
  state(): SandboxState;
  /** Asks the root process to end, with SIGKILL after the grace; resolves when the sandbox is taken down. */
  terminate(signal: number, graceMs: number): Promise<Exit>;
  /** Stops all its processes. @throws ComicranError sandbox.not-running, migration.busy, deadline */
  freeze(): Promise<void>;
  thaw(): Promise<void>;
  /**
   * A migration begins, or has left it here: in between jailor neither restarts nor freezes it, nor is anything started in it.
   * @throws ComicranError migration.refused: why it cannot be moved now
   */
  setMoving(moving: boolean): Promise<void>;
  /** Skeleton: the process `hostPid`, a child of jailor, is the root process from now on. */
  adopt(hostPid: number): Promise<void>;
  /** The process runs somewhere else: ends what is left of it here and takes the sandbox down. */
  release(): Promise<void>;
  /** Keeps a copy of a descriptor of this daemon's, should the daemon be killed: `kept` of the state says where. */
  keep(name: string, descriptor: number): Promise<void>;
  /** Closes what is kept under a name. */
  drop(name: string): Promise<void>;
  /** Resolves when the sandbox has ended and is taken down, for whatever reason. */
  readonly exited: Promise<Exit>;
}

/** What a process has behind it that comes from another machine. */
export type EarlierLife = {
  /** Unix time; undefined: not known. */
  readonly startedAtMs: number | undefined;
  /** How often it was started again. */
  readonly restarts: number;
};

export interface Jailors {
  /**
   * Resolves when the root process runs, or the skeleton waits.
   * @param earlier of the process that is to come; absent: it is started now
   * @throws ComicranError; nothing is left then
   */
  start(config: FullConfig, kind: 'process' | 'skeleton', earlier?: EarlierLife): Promise<Jail>;
  /**
   * What this state directory has from before this daemon: sandboxes with a living jailor, and those that have ended
   * (a jailor that was killed has its remains taken away first).
   */
  findAll(): Promise<{ readonly living: readonly Jail[]; readonly ended: readonly SandboxState[] }>;
  /** Removes what is left of a sandbox that has ended: its state and its log. */
  forget(id: string): Promise<void>;
  /** The configuration that a sandbox was started with. */
  readConfig(id: string): FullConfig;
}
