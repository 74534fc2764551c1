/** Running a command in one of the lab's nodes. */
import { existsSync } from 'node:fs';
import { ComicranError } from '../base/errors.ts';
import { suggestion } from '../base/suggest.ts';
import { enterNetworkNamespace } from '../linux/netns.ts';
import { type LabLayout, pathWithComicran } from './layout.ts';
import { presentNamespaces } from './network.ts';

/** env(1) looks a program up in PATH, and says what a shell says where there is none. */
const ENV = '/usr/bin/env';

/**
 * Becomes the command: this process enters the node's network namespace and is replaced, so that signals, terminal and
 * exit code are the command's own. Everything but the network is the machine's. Does not return.
 *
 * @throws ComicranError lab.state or usage
 */
export function execInNode(layout: LabLayout, name: string, command: readonly string[]): never {
  const node = layout.nodes.find((one) => one.name === name);
  if (layout.machines.some((machine) => machine.name === name)) {
    throw new ComicranError('usage', `'${name}' is a virtual machine: nothing of this machine runs in it`, {
      hint: `Call 'comicran lab console ${name}' and press Enter: a shell is there.`,
    });
  }
  if (node === undefined) {
    throw new ComicranError('usage', `the lab has no node '${name}'`, {
      hint: suggestion(
        name,
        layout.nodes.map((one) => one.name),
        'Its nodes are',
      ),
    });
  }
  if (!presentNamespaces(layout).includes(node.netns)) {
    throw new ComicranError('lab.state', `the lab is not up: there is no network namespace ${node.netns}`, {
      hint: "Bring it up with 'comicran lab up'.",
    });
  }
  if (process.execve === undefined || !existsSync(ENV)) throw new ComicranError('needs.tool', `${ENV} is missing`);
  enterNetworkNamespace({ name: node.netns });
  const environment = { ...process.env, PATH: pathWithComicran(process.env['PATH']) };
  process.execve(ENV, [ENV, '--', ...command], environment);
  throw new Error('execve came back');
}
