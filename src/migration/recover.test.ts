import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SourceEntry, SourceStage } from './journal.ts';
import { recoverSource, type SourceRecoveryPorts } from './recover.ts';
import { VirtualClock } from './test-kit/virtual-clock.ts';

const refuse = async (): Promise<never> => {
  throw new Error('refused');
};

/** A source's daemon that starts again. @returns what became of the migration, and whether its entry was cleared. */
async function recover(stage: SourceStage, process: { resume?: () => Promise<void>; kill?: () => Promise<void> }) {
  const clock = new VirtualClock();
  const cleared: string[] = [];
  const ports = {
    ...{ clock, process, connect: refuse },
    journal: { write: async () => undefined, clear: (id: string) => void cleared.push(id) },
    ownership: { take: refuse, give: refuse, lead: refuse },
    paging: { serve: async () => ({}), close: async () => undefined },
  } as unknown as SourceRecoveryPorts;
  const migration: SourceEntry['migration'] = {
    ...{ id: 'm1', sandbox: 'square', mode: 'postcopy', source: 'vm1', destination: 'vm2', epoch: 7n },
  };
  const end = await clock.run(recoverSource(ports, { side: 'source', stage, migration }));
  return { end, cleared: cleared.length > 0, left: end.leftovers.map(({ message }) => message) };
}

test('a process that does not run on is found by the next daemon, too', async () => {
  const { end, cleared, left } = await recover('sending', { resume: refuse });
  assert.ok(end.outcome === 'halted' && end.error.message.includes('square belongs here and does not run'));
  assert.deepEqual(left, ['letting the process run on: refused']);
  assert.ok(!cleared);
  assert.ok((await recover('sending', { resume: async () => undefined })).cleared);
});

test('a process that went and could not be ended is found by the next daemon, too', async () => {
  const { end, cleared, left } = await recover('filled', { kill: refuse });
  assert.equal(end.outcome, 'moved');
  assert.deepEqual(left, ['ending the process: refused']);
  assert.ok(!cleared);
  assert.ok((await recover('filled', { kill: async () => undefined })).cleared);
});
