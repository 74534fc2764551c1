import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { DestinationStage, Migration, SourceStage } from './journal.ts';
import {
  type DestinationAction,
  decideDestination,
  decideSource,
  type Knowledge,
  type SourceAction,
} from './ownership.ts';

const migration: Migration = {
  id: 'm',
  sandbox: 'square',
  mode: 'stopcopy',
  source: 'S',
  destination: 'D',
  epoch: 5n,
};
const record = (owner: string, epoch: bigint): Knowledge => ({ owner, epoch });

test('the source', () => {
  const table: readonly [SourceStage, Knowledge, SourceAction][] = [
    // Before TAKE it does not matter what the record says: nobody but the source can have changed it.
    ['sending', 'not-asked', 'resume'],
    ['sending', 'no-answer', 'resume'],
    ['sending', record('S', 5n), 'resume'],
    ['followed', 'not-asked', 'fence'],
    ['followed', 'no-answer', 'wait'],
    ['followed', record('S', 6n), 'resume'],
    ['followed', record('D', 6n), 'kill'],
    ['offered', 'not-asked', 'fence'],
    ['offered', 'no-answer', 'wait'],
    ['offered', record('S', 5n), 'fence'],
    ['offered', record('S', 6n), 'resume'],
    ['offered', record('S', 9n), 'resume'],
    ['offered', record('D', 6n), 'kill'],
    ['offered', record('D', 7n), 'kill'],
    ['offered', record('E', 6n), 'kill'],
    ['offered', record('D', 5n), 'halt'],
    ['offered', record('S', 4n), 'halt'],
    ['offered', record('D', 4n), 'halt'],
    ['given', 'not-asked', 'kill'],
    ['given', 'no-answer', 'kill'],
    ['given', record('S', 5n), 'kill'],
    ['filled', 'not-asked', 'kill'],
    ['filled', 'no-answer', 'kill'],
  ];
  for (const [stage, known, action] of table)
    assert.equal(decideSource(stage, migration, known), action, `${stage} ${JSON.stringify(known, text)}`);
});

test('the destination', () => {
  const table: readonly [DestinationStage, Knowledge, DestinationAction][] = [
    ['receiving', 'not-asked', 'destroy'],
    ['receiving', 'no-answer', 'destroy'],
    ['receiving', record('D', 6n), 'destroy'],
    ['taking', 'not-asked', 'take'],
    ['taking', 'no-answer', 'wait'],
    ['taking', record('S', 5n), 'take'],
    ['taking', record('D', 6n), 'run'],
    ['taking', record('S', 6n), 'destroy'],
    ['taking', record('E', 6n), 'destroy'],
    ['taking', record('S', 7n), 'destroy'],
    ['taking', record('D', 5n), 'halt'],
    ['taking', record('D', 7n), 'halt'],
    ['taking', record('S', 4n), 'halt'],
    ['taking-over', 'not-asked', 'take'],
    ['taking-over', 'no-answer', 'wait'],
    ['taking-over', record('D', 6n), 'run'],
    ['taking-over', record('S', 6n), 'destroy'],
    ['owned', 'not-asked', 'run'],
    ['owned', 'no-answer', 'run'],
    ['filled', 'not-asked', 'run'],
  ];
  for (const [stage, known, action] of table)
    assert.equal(decideDestination(stage, migration, known), action, `${stage} ${JSON.stringify(known, text)}`);
});

test('no record lets both sides run', () => {
  const records = fc.record({ owner: fc.constantFrom('S', 'D', 'E'), epoch: fc.bigInt({ min: 0n, max: 12n }) });
  fc.assert(
    fc.property(records, (known) => {
      for (const [from, to] of [
        ['offered', 'taking'],
        ['followed', 'taking-over'],
      ] as const) {
        const source = decideSource(from, migration, known);
        const destination = decideDestination(to, migration, known);
        assert.ok(!(source === 'resume' && destination === 'run'));
        // And where one side's process ends, the other one's does not, unless somebody else owns.
        if (source === 'kill' && destination === 'destroy') assert.notEqual(known.owner, 'S');
      }
    }),
  );
});

function text(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
