import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ComicranError } from '../../base/errors.ts';
import type { PortSpec } from '../../base/sandbox-config.ts';
import type { Exit } from '../../jailor/state.ts';
import { waitForPorts } from './ports-bound.ts';

const PORTS: readonly PortSpec[] = [
  { port: 5006, protocol: 'udp' },
  { port: 80, protocol: 'tcp' },
];

/** A process that binds a port a look, and ends, where it is to, after so many looks. */
async function waiting(options: { binds?: readonly number[]; endsAfter?: number; ports?: readonly PortSpec[] }) {
  const { binds = [], endsAfter = Number.POSITIVE_INFINITY, ports = PORTS } = options;
  let looks = 0;
  const exit: Exit = { reason: 'ended', code: 3, signal: null };
  const thrown = await waitForPorts({
    ...{ id: 'square', vm: 'vm1', ports, waitMs: 150 },
    look: () => (looks++ < endsAfter ? { pid: 7, exit: undefined } : { pid: undefined, exit }),
    lastWords: async () => ['error: no such file'],
    bound: () => new Set(binds.slice(0, looks)),
  }).then(
    () => undefined,
    (error: unknown) => error,
  );
  return { thrown, looks };
}

test('it waits for every declared port; without one it does not wait', async () => {
  assert.deepEqual(await waiting({ binds: [5006, 80] }), { thrown: undefined, looks: 2 });
  assert.deepEqual(await waiting({ ports: [] }), { thrown: undefined, looks: 1 });
});

test('a process that ends first, or never binds: what is missing, how it ended, what it said', async () => {
  const { thrown: ended } = await waiting({ binds: [5006], endsAfter: 2 });
  assert.ok(ended instanceof ComicranError && ended.code === 'process.gone');
  assert.match(ended.message, /'square' has ended on vm1 \(exit 3\) before it bound ports? /);
  assert.match(ended.hint ?? '', /It wrote: error: no such file\..*smanager terminate square/);
  const { thrown: late } = await waiting({ binds: [5006] });
  assert.ok(late instanceof ComicranError && late.code === 'deadline');
  assert.match(late.message, /'square' runs on vm1, but has not bound port 80\/tcp after 150 ms/);
  assert.match(late.hint ?? '', /smanager logs square.*--no-wait/);
});
