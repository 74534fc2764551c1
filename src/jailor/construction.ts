/** What a sandbox under construction holds: descriptors, sockets, children, and how to take it all down. */
import { closeSync, constants, openSync } from 'node:fs';
import { join } from 'node:path';
import { assert, defined } from '../base/assert.ts';
import { Cleanup } from '../base/cleanup.ts';
import { type Cgroup, findCgroupTrees, moveSelfInto, moveSelfIntoSoon, ownCgroupPaths } from '../linux/cgroup.ts';
import { joinNetns, NamespaceReturn, unshareNamespaces } from '../linux/namespaces.ts';
import type { RouteSocket } from '../linux/rtnetlink/index.ts';
import type { Child } from './child.ts';
import type { Side, Stdio } from './operations.ts';
import type { StdioFds } from './programs.ts';

/** What the world gives. */
export type World = {
  readonly storeDirectory: string;
  /** Write ends for standard output and error of what logs; the caller keeps them. */
  readonly logFds?: { readonly stdout: number; readonly stderr: number };
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
  cgroup: Cgroup | undefined;
  network: Network | undefined;
  init: Child | undefined;
  hatchery: Child | undefined;
  process: Child | undefined;
  /** Where the sandbox's root lies for jailor's thread: a directory, and `''` after the pivot. */
  prefix = '';
  /** Where this process belongs, from when it began to join the sandbox's cgroup until it is back. */
  #ownCgroup: readonly string[] | undefined;
  #joining: Promise<void> | undefined;
  #ownNamespaces: NamespaceReturn | undefined;

  constructor(world: World) {
    this.world = world;
  }

  /** A path inside the sandbox, as jailor's thread reaches it at this moment. */
  at(path: string): string {
    return join('/', this.prefix, path);
  }

  socket(side: Side): RouteSocket {
    return defined(this.network, 'the network namespace').sockets[side];
  }

  stdioFds(stdio: Stdio, nullFd: number): StdioFds {
    if (stdio === 'inherit') return [0, 1, 2];
    const { stdout, stderr } = defined(this.world.logFds, 'a log');
    return [nullFd, stdout, stderr];
  }

  /** Runs `use` with the sandbox's own /dev/null, open for reading. */
  withNull<T>(use: (fd: number) => T): T {
    const fd = openSync(this.at('/dev/null'), constants.O_RDONLY);
    try {
      return use(fd);
    } finally {
      closeSync(fd);
    }
  }

  /** Begins to move jailor into the sandbox's cgroup, so that children are born there. */
  beginToJoin(): void {
    this.#ownCgroup = ownCgroupPaths(findCgroupTrees());
    this.#joining = moveSelfIntoSoon(defined(this.cgroup, 'the cgroup').paths);
    // A failure is told by enter().
    this.#joining.catch(() => undefined);
  }

  /**
   * Moves jailor's main thread into new namespaces. From then until {@link leave} nothing may give way to the event loop.
   */
  async enter(): Promise<void> {
    assert(this.#ownNamespaces === undefined, 'entered twice');
    const { netnsFd } = defined(this.network, 'the network namespace');
    // The cgroup first: it becomes the root of the cgroup namespace.
    await this.#joining;
    this.#ownNamespaces = new NamespaceReturn(['mnt', 'uts', 'ipc', 'cgroup', 'net', 'pid']);
    joinNetns(netnsFd);
    unshareNamespaces(['mnt', 'uts', 'ipc', 'cgroup', 'pid']);
  }

  /** Comes back. Idempotent. */
  leave(): void {
    const namespaces = this.#ownNamespaces;
    this.#ownNamespaces = undefined;
    namespaces?.comeBack();
    namespaces?.close();
    const cgroup = this.#ownCgroup;
    this.#ownCgroup = undefined;
    if (cgroup !== undefined) moveSelfInto(cgroup);
  }

  /** Comes back after a failure, also from half-way. */
  async giveUp(): Promise<void> {
    await this.#joining?.catch(() => undefined);
    this.leave();
  }
}
