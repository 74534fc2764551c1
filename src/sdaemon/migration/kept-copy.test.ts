/** Who may have a copy take over that is kept here, and when. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FullConfig } from '../../base/sandbox-config.ts';
import type { Migration } from '../../migration/journal.ts';
import type { JobOutcome, JobProgress } from './job.ts';
import { KeptCopy } from './kept-copy.ts';

const migration: Migration = {
  ...{ id: 'm', sandbox: 'square', mode: 'replicated', source: 'vm1', destination: 'vm2', epoch: 5n },
};
const config = (publish?: number): FullConfig =>
  ({
    network: { ports: [{ port: 5006, protocol: 'udp', ...(publish === undefined ? {} : { publish }) }] },
  }) as unknown as FullConfig;
const at = (phase: string, note?: string): JobProgress => ({
  ...{ phase, atMicros: 0, doneBytes: 0, totalBytes: 0 },
  ...(note === undefined ? {} : { note }),
});
const NEVER = new Promise<JobOutcome>(() => undefined);
const takeover = { gapMicros: 7, replayed: 3, compared: 2, released: 1, mayRepeat: 1 };
const owned = { outcome: 'owned', epoch: 6n, takeover } as JobOutcome;
const dead = { fromVm: 'vm1', machineIsOff: false };

test('a copy of another machine, and one of a sandbox with published ports, unless the machine is off', async () => {
  const copy = new KeptCopy(migration, config(5006));
  copy.progress(at('keep'));
  await assert.rejects(copy.takeOver({ ...dead, fromVm: 'vm3' }, NEVER, 1), {
    code: 'migration.refused',
    message: /a copy of 'square' from vm1, not from vm3/,
  });
  await assert.rejects(copy.takeOver(dead, NEVER, 1), { code: 'migration.refused', message: /published .*5006\/udp/ });
  const off = copy.takeOver({ ...dead, machineIsOff: true }, Promise.resolve(owned), 1);
  assert.deepEqual(await off, { ...takeover, fromVm: 'vm1', toVm: 'vm2', epoch: 6n });
  assert.deepEqual(await copy.ordered, { sourceIsOff: true });
});

test('a source that is heard: refused; one that falls silent meanwhile is waited for', async () => {
  const heard = new KeptCopy(migration, config());
  heard.progress(at('follow'));
  await assert.rejects(heard.takeOver(dead, NEVER, 0.01), {
    code: 'migration.refused',
    message: /hears vm1 still.*\(follow\)/,
  });
  const job = Promise.withResolvers<JobOutcome>();
  const copy = new KeptCopy(migration, config());
  const taking = copy.takeOver(dead, job.promise, 1);
  assert.equal(copy.progress(at('keep')), undefined);
  assert.match(copy.progress(at('keep', 'vm1 is silent')) ?? '', /^vm1 is silent\. .*takeover square --from-dead vm1$/);
  assert.deepEqual(await copy.ordered, { sourceIsOff: false });
  job.resolve(owned);
  assert.equal((await taking).gapMicros, 7);
});

test('why the copy could not take over', async () => {
  const copy = new KeptCopy(migration, config());
  copy.progress(at('keep'));
  const failed = {
    outcome: 'discarded',
    error: { name: 'ComicranError', code: 'ownership.lost', message: 'it belongs to vm1' },
  };
  await assert.rejects(copy.takeOver(dead, Promise.resolve(failed as unknown as JobOutcome), 1), /it belongs to vm1/);
  const moved = { outcome: 'owned', epoch: 6n, takeover: undefined } as JobOutcome;
  await assert.rejects(copy.takeOver(dead, Promise.resolve(moved), 1), {
    code: 'migration.refused',
    message: /after all/,
  });
});
