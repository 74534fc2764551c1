/**
 * A fault service in a process of its own, to be killed. Its order stands in the first line of standard input; what it
 * has to say are lines of JSON, and what is to be kept or dropped is confirmed by a line each.
 */
import { createInterface } from 'node:readline';
import { ipv4Bytes } from '../../../src/base/ipv4.ts';
import { getDescriptor } from '../../../src/linux/pidfd.ts';
import type { FaultServiceOptions } from '../../../src/paging/fault-service.ts';
import type { PageRun } from '../../../src/paging/page-range.ts';
import type { ServiceCounts } from '../../../src/paging/service-times.ts';
import type { KeptSpace } from '../../../src/sdaemon/paging/fault-session.ts';
import { PagingClient, PagingThread } from '../../../src/sdaemon/paging/paging.ts';

export type Order = {
  readonly keeperPid: number;
  /** Of the keeper. */
  readonly userfault: number;
  readonly journal: string;
  /** IPv4. */
  readonly address: string;
  readonly port: number;
  /** Hexadecimal. */
  readonly key: string;
  /** null: go on where another one was killed. */
  readonly missing: readonly PageRun[] | null;
  readonly children: readonly KeptSpace[];
  readonly service: Partial<FaultServiceOptions>;
};

export type Line =
  | { readonly type: 'running' }
  | { readonly type: 'done'; readonly counts: ServiceCounts }
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'keep'; readonly name: string; readonly descriptor: number }
  | { readonly type: 'drop'; readonly name: string };

const say = (line: Line): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const order = JSON.parse(String((await lines.next()).value)) as Order;
let asking: Promise<unknown> = Promise.resolve();
const ask = (line: Line): Promise<void> => {
  const asked = asking.then(() => {
    say(line);
    return lines.next();
  });
  asking = asked;
  return asked.then(() => undefined);
};
const take = (descriptor: number): number => getDescriptor(order.keeperPid, descriptor);

const thread = await PagingThread.start();
const client = new PagingClient(thread.newPort());
const common = {
  server: { address: Buffer.from(ipv4Bytes(order.address)), port: order.port, key: Buffer.from(order.key, 'hex') },
  userfault: take(order.userfault),
  journal: order.journal,
  service: order.service,
  keeper: {
    keep: (name: string, descriptor: number) => ask({ type: 'keep', name, descriptor }),
    drop: (name: string) => ask({ type: 'drop', name }),
  },
  onDone: (counts: ServiceCounts) => {
    say({ type: 'done', counts });
    process.exit();
  },
  onFailure: (error: Error) => say({ type: 'failed', message: error.message }),
};
if (order.missing === null) {
  const children = order.children.map(({ journal, descriptor }) => ({ journal, descriptor: take(descriptor) }));
  await client.adoptPaging({ ...common, children });
} else await client.startPaging({ ...common, missing: order.missing });
say({ type: 'running' });
