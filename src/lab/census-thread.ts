/** A thread that enters a network namespace and asks the daemons there how many sandboxes they have. */
import { parentPort, workerData } from 'node:worker_threads';
import { connect } from '../api/client.ts';
import { Sdaemon } from '../api/gen/comicran_pb.ts';
import { loadIdentity } from '../api/identity.ts';
import { defined } from '../base/assert.ts';
import { enterNetworkNamespace } from '../linux/netns.ts';

export type CensusData = {
  readonly netns: string;
  readonly pki: string;
  readonly vms: readonly { readonly name: string; readonly endpoint: string }[];
};

/** By the machine's name; a machine whose daemon does not answer is not in it. */
export type SandboxCounts = Readonly<Record<string, number>>;

/** Also for a virtual machine under emulation. */
const DEADLINE_MS = 10_000;

async function count({ netns, pki, vms }: CensusData): Promise<SandboxCounts> {
  const found: Record<string, number> = {};
  try {
    enterNetworkNamespace({ name: netns });
    const identity = loadIdentity(pki, 'smanager');
    await Promise.all(
      vms.map(async ({ name, endpoint }) => {
        const options = { endpoint, identity, defaultDeadlineMs: DEADLINE_MS } as const;
        const connection = connect(Sdaemon, { ...options, peer: { role: 'sdaemon', vm: name } });
        try {
          found[name] = (await connection.client.info({})).sandboxes;
        } catch {
          // Not answering is what the caller learns from its absence.
        } finally {
          connection.close();
        }
      }),
    );
  } catch {
    // No namespace or no certificates: nobody could be asked.
  }
  return found;
}

defined(parentPort, 'the parent of this thread').postMessage(await count(workerData as CensusData));
