/** What a sandbox under construction holds: descriptors, sockets, children, and how to take it all down. */
import { closeSync, constants, openSync } from 'node:fs';
import { join } from 'node:path';
import { assert, defined } from '../base/assert.ts';
import { Cleanup } from '../base/cleanup.ts';
import { type Cgroup, moveSoon } from '../linux/cgroup.ts';
import type { StoppedProcess } from '../linux/idle-process.ts';
import { joinNamespacesOf, NamespaceReturn } from '../linux/namespaces.ts';
import type { RouteSocket } from '../linux/rtnetlink/index.ts';
import type { Child } from './child.ts';
import type { Side, Stdio } from './operations.ts';
import type { StdioFds } from './programs.ts';
import type { TreeEntry } from './store/fill.ts';
import type { RootFiles } from './store/use.ts';

/** What the world gives. */
export type World = {
  readonly storeDirectory: string;
  /** Write ends for standard output and error of what logs; the caller keeps them. */
  readonly logFds?: { readonly stdout: number; readonly stderr: number };
  /** Hears of what an operator should know and what is no failure. */
  readonly say?: (text: string) => void;
};

type Network = {
  readonly netnsFd: number;
  /** By side. */
  readonly sockets: Readonly<Record<Side, RouteSocket>>;
};

export class Construction {
  readonly world: World;
  readonly cleanup = new Cleanup();
  root: string | undefined;
  /** A mount that is not mounted yet. */
  rootTree: number | undefined;
  /** While the tree is being told: what is in it. */
  tree: TreeEntry[] | undefined;
  /** What is mounted at the root directory: a tree of the store, or the root directory itself. */
  rootSource: string | undefined;
  rootFiles: RootFiles | undefined;
  cgroup: Cgroup | undefined;
  network: Network | undefined;
  zygote: Child | undefined;
  init: Child | undefined;
  /** The process that becomes the hatchery or the root process; stopped until it does. */
  seat: StoppedProcess | undefined;
  seatChild: Child | undefined;
  hatchery: Child | undefined;
  process: Child | undefined;
  /** Where the sandbox's root lies for jailor's thread: a directory, and `''` after the pivot. */
  prefix = '';
  #joining: Promise<void> | undefined;
  #ownNamespaces: NamespaceReturn | undefined;

  constructor(world: World) {
    this.world = world;
  }

  /** A path inside the sandbox, as jailor's thread reaches it at this moment. */
  at(path: string): string {
    return join('/', this.prefix, path);
  }

  /** Whether a child of jailor is one of those named here. One that has been reaped is none: somebody else may have its PID. */
  hasChild(hostPid: number): boolean {
    return [this.zygote, this.init, this.hatchery, this.process].some(
      (child) => child !== undefined && child.hostPid === hostPid && !child.isOver,
    );
  }

  socket(side: Side): RouteSocket {
    return defined(this.network, 'the network namespace').sockets[side];
  }

  stdioFds(stdio: Stdio, nullFd: number): StdioFds {
    if (stdio === 'inherit') return [0, 1, 2];
    const { stdout, stderr } = defined(this.world.logFds, 'a log');
    return [nullFd, stdout, stderr];
  }

  /** Runs `use` with /dev/null, open for reading. */
  withNull<T>(use: (fd: number) => T): T {
    const fd = openSync('/dev/null', constants.O_RDONLY);
    try {
      return use(fd);
    } finally {
      closeSync(fd);
    }
  }

  /** Begins to move the zygote into the sandbox's cgroup, so that what it clones is born there. */
  beginToJoin(): void {
    const { hostPid } = defined(this.zygote, 'the zygote');
    this.#joining = moveSoon(hostPid, defined(this.cgroup, 'the cgroup'));
    // A failure is told by joined().
    this.#joining.catch(() => undefined);
  }

  async joined(): Promise<void> {
    await this.#joining;
  }

  /** Moves jailor's main thread into the sandbox. Until {@link leave} nothing may give way to the event loop. */
  enter(): void {
    assert(this.#ownNamespaces === undefined, 'entered twice');
    this.#ownNamespaces = new NamespaceReturn(['mnt', 'uts']);
    joinNamespacesOf(defined(this.init, 'the init').hostPid, ['mnt', 'uts']);
  }

  /** Comes back. Idempotent. */
  leave(): void {
    const namespaces = this.#ownNamespaces;
    this.#ownNamespaces = undefined;
    namespaces?.comeBack();
    namespaces?.close();
  }

  /** Comes back after a failure, also from half-way. */
  async giveUp(): Promise<void> {
    await this.#joining?.catch(() => undefined);
    this.leave();
  }
}
