/**
 * A program that an operator starts in a sandbox for a look inside. It is what the root process is (namespaces, root, limits,
 * user, filter, no capabilities), but a child of this program, and it ends with it. While it runs the sandbox is not moved:
 * jailor counts it, and lets it in only where nobody is about to move or freeze the sandbox.
 */
import { fchownSync } from 'node:fs';
import { defined } from '../base/assert.ts';
import { ComicranError, messageOf } from '../base/errors.ts';
import { O } from '../linux/open-flags.ts';
import { closeDescriptor } from '../linux/pidfd.ts';
import { RootDirectory } from '../linux/root-directory.ts';
import { SYS } from '../linux/syscall-numbers.ts';
import { TIOCSCTTY } from '../linux/terminal.ts';
import type { Child } from './child.ts';
import { ControlClient } from './control-client.ts';
import { HOST_TOOLS_PATH, HostTools, SANDBOX_DIRECTORY } from './host-tools.ts';
import { userOf } from './ids.ts';
import { loadFullConfig } from './load-config.ts';
import { sandboxPaths } from './naming.ts';
import { privilegesOf } from './privileges.ts';
import type { StdioFds } from './programs.ts';
import { startInside } from './start-inside.ts';

export type GuestOptions = {
  readonly stateDirectory: string;
  readonly id: string;
  /** The program, by its path or looked for as a shell would, and its arguments. */
  readonly words: readonly string[];
  readonly stdio: StdioFds;
  /** Standard input is a terminal that is to be its own; its type. */
  readonly terminal?: string;
  readonly hostTools: boolean;
};

export type Guest = {
  readonly child: Child;
  /** To be called when it has ended: until then the sandbox is not moved. */
  close(): void;
};

/** @throws ComicranError sandbox.unknown, sandbox.not-running, migration.busy, sandbox.setup-failed (it cannot be executed) */
export async function startGuest(options: GuestOptions): Promise<Guest> {
  const { stateDirectory, id, stdio } = options;
  const control = await ControlClient.connect(stateDirectory, id);
  let tools: HostTools | undefined;
  try {
    const { init, cgroup, ids, process: root } = await control.admitGuest();
    const config = await loadFullConfig(sandboxPaths(stateDirectory, id).config);
    if (options.terminal !== undefined) {
      // So that it can open /dev/stdin and its like, whoever it is.
      const { uid, gid } = userOf(config, ids);
      fchownSync(stdio[0], uid, gid);
    }
    tools = options.hostTools ? new HostTools() : undefined;
    const environment = {
      ...config.process.environment,
      ...(options.terminal === undefined ? {} : { TERM: options.terminal }),
      ...(tools === undefined ? {} : { PATH: HOST_TOOLS_PATH }),
    };
    const [name = '', ...words] = options.words;
    const rootPid = tools === undefined ? defined(root, 'a process of a sandbox that runs').pid : process.pid;
    const { child } = await startInside(
      {
        ...{ initPid: defined(init, 'the init').pid, cgroup: defined(cgroup, 'the cgroup'), ids, stdio },
        endsWithStarter: true,
        inherited: tools?.inherited ?? [],
        prepare: (seat) => {
          if (options.terminal !== undefined) seat.thread.call('take the terminal', SYS.ioctl, 0, TIOCSCTTY, 0);
          tools?.arrange(seat);
        },
      },
      {
        executable: findProgram(rootPid, name, environment['PATH'] ?? HOST_TOOLS_PATH),
        arguments: words,
        environment,
        workingDirectory: tools === undefined ? config.process.workingDirectory : SANDBOX_DIRECTORY,
      },
      privilegesOf(config),
    );
    return { child, close: () => control.close() };
  } catch (thrown) {
    control.close();
    if (thrown instanceof ComicranError) throw thrown;
    throw new ComicranError('sandbox.setup-failed', `sandbox ${id}: ${messageOf(thrown)}`, {
      hint: options.hostTools
        ? 'The program is looked for on this machine.'
        : 'A sandbox has only what its configuration names: --with-host-tools brings the programs of this machine along.',
      cause: thrown,
    });
  } finally {
    tools?.close();
  }
}

/** Where nothing is found the name stays, and executing it says so. @param pid of a process whose root is looked into. */
function findProgram(pid: number, name: string, path: string): string {
  if (name.includes('/')) return name;
  const root = new RootDirectory(pid);
  try {
    for (const directory of path.split(':')) {
      const candidate = `${directory}/${name}`;
      const found = directory.startsWith('/') ? openIn(root, candidate) : null;
      if (found === null) continue;
      closeDescriptor(found);
      return candidate;
    }
    return name;
  } finally {
    root[Symbol.dispose]();
  }
}

function openIn(root: RootDirectory, path: string): number | null {
  try {
    return root.openIfThere(path, O.PATH);
  } catch {
    return null;
  }
}
