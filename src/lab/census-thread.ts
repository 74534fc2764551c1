/** A thread that enters a network namespace and asks the daemons there how they are. */
import { parentPort, workerData } from 'node:worker_threads';
import { connect } from '../api/client.ts';
import { Sdaemon, Sdn } from '../api/gen/comicran_pb.ts';
import { type Identity, loadIdentity } from '../api/identity.ts';
import { defined } from '../base/assert.ts';
import { enterNetworkNamespace } from '../linux/netns.ts';

export type CensusData = {
  readonly netns: string;
  readonly pki: string;
  readonly vms: readonly { readonly name: string; readonly endpoint: string }[];
  readonly sdnEndpoint: string;
};

export type Census = {
  /** By the machine's name; a machine whose daemon does not answer is not in it. */
  readonly sandboxes: Readonly<Record<string, number>>;
  readonly sdnAnswers: boolean;
};

/** Also for a virtual machine under emulation. */
const DEADLINE_MS = 10_000;

async function count({ netns, pki, vms, sdnEndpoint }: CensusData): Promise<Census> {
  const sandboxes: Record<string, number> = {};
  let sdnAnswers = false;
  const askSdn = async (identity: Identity): Promise<void> => {
    const options = { endpoint: sdnEndpoint, identity, defaultDeadlineMs: DEADLINE_MS } as const;
    const connection = connect(Sdn, { ...options, peer: { role: 'sdn' } });
    try {
      await connection.client.listServices({});
      sdnAnswers = true;
    } catch {
      // As below.
    } finally {
      connection.close();
    }
  };
  try {
    enterNetworkNamespace({ name: netns });
    const identity = loadIdentity(pki, 'smanager');
    await Promise.all([
      askSdn(identity),
      ...vms.map(async ({ name, endpoint }) => {
        const options = { endpoint, identity, defaultDeadlineMs: DEADLINE_MS } as const;
        const connection = connect(Sdaemon, { ...options, peer: { role: 'sdaemon', vm: name } });
        try {
          sandboxes[name] = (await connection.client.info({})).sandboxes;
        } catch {
          // Not answering is what the caller learns from its absence.
        } finally {
          connection.close();
        }
      }),
    ]);
  } catch {
    // No namespace or no certificates: nobody could be asked.
  }
  return { sandboxes, sdnAnswers };
}

defined(parentPort, 'the parent of this thread').postMessage(await count(workerData as CensusData));
