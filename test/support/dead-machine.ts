/** A machine of the lab that dies as one that loses its power does: its link is cut, then everything in it ends. */
import { readdirSync, readFileSync } from 'node:fs';
import { cgroupName, tagOf } from '../../src/jailor/naming.ts';
import { labLayout } from '../../src/lab/layout.ts';
import { endProcesses, processesInNamespaces } from '../../src/lab/processes.ts';
import { inNetnsOf } from '../../src/linux/netns.ts';
import { identifyProcess, type ProcessIdentity } from '../../src/linux/process-identity.ts';
import { RouteSocket, setLink } from '../../src/linux/rtnetlink/index.ts';

function cgroupsOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, 'latin1');
  } catch {
    return ''; // ended meanwhile
  }
}

export class DeadMachine {
  readonly #node: string;
  readonly #cgroup: string;

  /** @param node of the lab, such as `vm1`. @param sandbox that it has */
  constructor(node: string, sandbox: string) {
    this.#node = node;
    const at = labLayout().vms.findIndex(({ name }) => name === node);
    this.#cgroup = cgroupName(tagOf(labLayout().sandboxStates[at]!, sandbox));
  }

  /** Nobody is told of anything. Resolves when nothing of it is left. */
  async die(): Promise<void> {
    this.#setLink(false);
    const { netns } = labLayout().nodes.find(({ name }) => name === this.#node)!;
    await endProcesses([...processesInNamespaces([netns]), ...this.processes()], 0);
  }

  /** Its link carries packets again. May be repeated. */
  linkUp(): void {
    this.#setLink(true);
  }

  /** What runs in the sandbox there. */
  processes(): ProcessIdentity[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && cgroupsOf(name).includes(`/${this.#cgroup}`))
      .flatMap((pid) => identifyProcess(Number(pid)) ?? []);
  }

  #setLink(up: boolean): void {
    const { hub, links } = labLayout();
    const { near } = links.find(({ node }) => node === this.#node)!;
    inNetnsOf({ name: hub }, () => {
      using socket = new RouteSocket();
      socket.apply(setLink(near.link, { up }));
    });
  }
}
