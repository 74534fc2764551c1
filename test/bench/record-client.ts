/**
 * A machine that asks the sdn for the ownership, over and over, in both ways. Started by record.ts in a namespace of its
 * own, with: endpoint of the sdn, pki directory, rounds. Prints {@link RecordTimes} as JSON.
 *
 * Each round is one migration, from vm1 to vm2 or back: announced, with a record channel opened and rehearsed in a worker
 * thread. Every second one takes by the channel, every other by a message to the main thread and an RPC from there.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { connect } from '../../src/api/client.ts';
import { Sdn } from '../../src/api/gen/comicran_pb.ts';
import { loadIdentity } from '../../src/api/identity.ts';
import { signalWake } from '../../src/linux/wake.ts';
import { VM_ADDRESS } from '../sdn/topology.ts';
import type { FromTaker, ToTaker } from './record-worker.ts';

/** In milliseconds, an entry a round. */
export type RecordTimes = {
  readonly channel: readonly number[];
  readonly rpc: readonly number[];
  readonly rehearse: readonly number[];
};

const [endpoint, pki, rounds] = process.argv.slice(2) as [string, string, string];
const sdn = Object.fromEntries(
  (['vm1', 'vm2'] as const).map((vm) => {
    const connection = connect(Sdn, { endpoint, identity: loadIdentity(pki, vm), peer: { role: 'sdn' } });
    return [vm, connection] as const;
  }),
) as Record<'vm1' | 'vm2', ReturnType<typeof connect<typeof Sdn>>>;
const worker = new Worker(new URL('./record-worker.ts', import.meta.url), { trackUnmanagedFds: false });
let wake = -1;
const next = (): Promise<FromTaker> => once(worker, 'message').then(([message]) => message as FromTaker);
const post = (message: ToTaker): void => {
  worker.postMessage(message);
  signalWake(wake);
};

const ready = await next();
if (ready.type === 'ready') wake = ready.wake;
const address = endpoint.split(':')[0]!;
const sandbox = 'square';
const claim = { sandbox, address: '10.88.0.5', vm: 'vm1', vmAddress: VM_ADDRESS.vm1, ports: [] };
const { location } = await sdn.vm1.client.claim(claim);
let epoch = location?.epoch ?? 0n;
const times = { channel: [] as number[], rpc: [] as number[], rehearse: [] as number[] };
for (let round = 0; round < Number(rounds); round++) {
  const [from, to] = round % 2 === 0 ? (['vm1', 'vm2'] as const) : (['vm2', 'vm1'] as const);
  const migrationId = `m${round}`;
  const take = { sandbox, expectedEpoch: epoch, vm: to, vmAddress: VM_ADDRESS[to], migrationId };
  await sdn[from].client.announceMigration({
    ...{ sandbox, migrationId, epoch, fromVm: from, toVm: to, deadlineMs: 10_000 },
  });
  const { port, key } = await sdn[to].client.openRecordChannel(take);
  const byChannel = Math.floor(round / 2) % 2 === 0;
  post({ type: 'take', record: { address, port, key }, byChannel, expectedEpoch: epoch });
  let message = await next();
  if (message.type === 'ask') {
    await sdn[to].client.setOwner(take);
    post({ type: 'answer' });
    message = await next();
  }
  if (message.type !== 'taken') throw new Error(`the worker said ${message.type}`);
  times[byChannel ? 'channel' : 'rpc'].push(message.ms);
  times.rehearse.push(message.rehearseMs);
  epoch++;
  const { location: now } = await sdn.vm1.client.locate({ sandbox });
  if (now?.vm !== to || now.epoch !== epoch) throw new Error(`it belongs to ${now?.vm} in epoch ${now?.epoch}`);
  await sdn[to].client.endMigration({ sandbox, migrationId, vm: to });
}
process.stdout.write(`${JSON.stringify(times satisfies RecordTimes)}\n`);
for (const connection of Object.values(sdn)) connection.close();
await worker.terminate();
