import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import type { Client } from '@connectrpc/connect';
import {
  ClaimResponseSchema,
  ListLocationsResponseSchema,
  LocateResponseSchema,
  ReleaseResponseSchema,
  type Sdn,
} from '../../api/gen/comicran_pb.ts';
import { ComicranError } from '../../base/errors.ts';
import type { FullConfig } from '../../base/sandbox-config.ts';
import type { Exit, SandboxState } from '../../jailor/index.ts';
import type { Jail, Jailors } from './jailors.ts';
import { checkName, Lifecycle } from './lifecycle.ts';
import { Registry } from './registry.ts';

const config: FullConfig = {
  version: 1,
  id: 'square',
  process: { executable: '/bin/x', arguments: [], environment: {}, workingDirectory: '/' },
  network: { address: '10.88.0.5', ports: [] },
  files: [],
  symlinks: [],
  directories: [],
  writable: [],
};

/** A machine whose jailor, sdn and ports are lists of what was asked of them. */
function machine(
  failing: Partial<Record<'claim' | 'start' | 'publish', ComicranError>> = {},
  owner = 'vm1',
  found = false,
  life: Pick<FullConfig, 'restart'> = {},
) {
  const did: string[] = [];
  let claimed = found;
  const step = (name: 'claim' | 'start' | 'publish'): void => {
    did.push(name);
    if (failing[name] !== undefined) throw failing[name];
  };
  const exit = Promise.withResolvers<Exit>();
  const restarts = { count: 4, startedAtMs: null };
  const process = { pid: 7, startTicks: 1, innerPid: 3 };
  const state = { id: 'square', process, startedAtMs: 1, restarts, cgroup: null } as SandboxState;
  const restartCounts: (number | undefined)[] = [];
  const jail: Jail = {
    id: 'square',
    state: () => state,
    async terminate() {
      did.push('terminate');
      exit.resolve({ reason: 'terminated', code: 0, signal: null });
      return exit.promise;
    },
    freeze: async () => undefined,
    thaw: async () => undefined,
    setMoving: async () => undefined,
    adopt: async () => void did.push('adopt'),
    release: async () => void did.push('take down'),
    keep: async () => undefined,
    drop: async () => undefined,
    exited: exit.promise,
  };
  const jailors: Jailors = {
    async start(_config, _kind, earlier) {
      step('start');
      restartCounts.push(earlier?.restarts);
      // Whatever is started again stays.
      return restartCounts.length === 1 ? jail : { ...jail, exited: new Promise(() => undefined) };
    },
    findAll: async () => ({ living: [jail], ended: [] }),
    forget: async () => void did.push('forget'),
    readConfig: () => ({ ...config, ...life }),
  };
  const location = { sandbox: 'square', address: '10.88.0.5', vm: owner, epoch: 1n };
  const sdn = {
    async claim() {
      step('claim');
      claimed = true;
      return create(ClaimResponseSchema, { location });
    },
    async release() {
      did.push('release');
      claimed = false;
      return create(ReleaseResponseSchema);
    },
    locate: async () => create(LocateResponseSchema, claimed ? { location } : {}),
    listLocations: async () => create(ListLocationsResponseSchema),
  } as Partial<Client<typeof Sdn>> as Client<typeof Sdn>;
  const publisher = {
    check: () => undefined,
    publish: async () => step('publish'),
    unpublish: async () => void did.push('unpublish'),
  };
  const registry = new Registry();
  const lifecycle = new Lifecycle({
    ...{ vm: 'vm1', address: '10.71.1.2', registry, jailors, sdn, publisher },
    log: () => undefined,
    raiseBuffers: () => undefined,
    stopping: new AbortController().signal,
  });
  return { lifecycle, registry, did, exit, restartCounts };
}

test('a start claims the name before it makes anything, and ends as running', async () => {
  const { lifecycle, registry, did } = machine();
  await lifecycle.start(config);
  assert.deepEqual(did, ['claim', 'start', 'publish']);
  assert.equal(registry.get('square').state, 'running');
  await assert.rejects(lifecycle.start(config), { code: 'sandbox.exists' });
});

test('whatever fails in a start, what came before it is undone, in reverse', async () => {
  const failure = new ComicranError('address.in-use', 'taken');
  const undone = { claim: [], start: ['release'], publish: ['terminate', 'release'] };
  for (const at of ['claim', 'start', 'publish'] as const) {
    const { lifecycle, registry, did } = machine({ [at]: failure });
    await assert.rejects(lifecycle.start(config), failure);
    assert.deepEqual(did.slice(did.indexOf(at) + 1), undone[at], `failure in ${at}`);
    assert.equal(registry.find('square'), undefined);
  }
});

test('a terminated sandbox is gone; its name is free at the sdn', async () => {
  const { lifecycle, registry, did } = machine();
  await lifecycle.start(config);
  const exit = await lifecycle.terminate('square', 15, 100);
  assert.equal(exit.code, 0);
  assert.deepEqual(did.slice(3), ['terminate', 'unpublish', 'release', 'forget']);
  assert.equal(registry.find('square'), undefined);
  await assert.rejects(lifecycle.terminate('square', 15, 100), { code: 'sandbox.unknown' });
});

test('a sandbox that ends by itself stays to be looked at, and its name is free at the sdn', async () => {
  const { lifecycle, registry, did, exit } = machine();
  await lifecycle.start(config);
  exit.resolve({ reason: 'ended', code: 3, signal: null });
  await new Promise((resolve) => setImmediate(resolve));
  const entry = registry.get('square');
  assert.ok(entry.state === 'stopped');
  assert.equal(entry.exit.code, 3);
  assert.deepEqual(did.slice(3), ['unpublish', 'release']);
});

const LOST: Exit = { reason: 'jailor-lost', code: null, signal: null };
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('a sandbox whose jailor was lost is started again where its policy has it so, and keeps its record', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const restart = { policy: 'on-failure', backoffMs: 50 } as const;
  const { lifecycle, registry, did, exit, restartCounts } = machine();
  await lifecycle.start({ ...config, restart });
  exit.resolve(LOST);
  await turn();
  assert.equal(registry.get('square').state, 'stopped');
  t.mock.timers.tick(50);
  await turn();
  assert.equal(registry.get('square').state, 'running');
  assert.deepEqual(did.slice(3), ['unpublish', 'forget', 'claim', 'start', 'publish']);
  assert.deepEqual(restartCounts, [undefined, 5]);
});

test('one without such a policy has ended; one that waits is ended by an operator, and its record is released', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const without = machine();
  await without.lifecycle.start(config);
  without.exit.resolve(LOST);
  await turn();
  assert.deepEqual(without.did.slice(3), ['unpublish', 'release']);

  const waiting = machine();
  await waiting.lifecycle.start({ ...config, restart: { policy: 'always', backoffMs: 50 } });
  waiting.exit.resolve(LOST);
  await turn();
  await waiting.lifecycle.terminate('square', 15, 100);
  t.mock.timers.tick(1_000);
  await turn();
  assert.deepEqual(waiting.did.slice(3), ['unpublish', 'unpublish', 'release', 'forget']);
  assert.equal(waiting.registry.find('square'), undefined);
});

test('a start again that fails counts as one more end, until the policy gives up', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const failing: { start?: ComicranError } = {};
  const { lifecycle, registry, did, exit } = machine(failing);
  await lifecycle.start({ ...config, restart: { policy: 'always', max: 2, backoffMs: 50 } });
  failing.start = new ComicranError('deadline', 'too slow');
  exit.resolve(LOST);
  for (const delayMs of [0, 50, 100, 1_000]) {
    t.mock.timers.tick(delayMs);
    await turn();
  }
  assert.equal(did.filter((one) => one === 'start').length, 3);
  assert.deepEqual(did.slice(-2), ['unpublish', 'release']);
  assert.equal(registry.get('square').state, 'stopped');
});

test('a daemon that starts again takes over what it owns and takes down what another machine owns', async () => {
  const own = machine({}, 'vm1', true);
  await own.lifecycle.adoptAll();
  assert.equal(own.registry.get('square').state, 'running');
  assert.deepEqual(own.did, ['publish']);
  const other = machine({}, 'vm2', true);
  await other.lifecycle.adoptAll();
  assert.equal(other.registry.find('square'), undefined);
  assert.deepEqual(other.did, ['take down', 'forget']);
});

test('names that would lead out of a directory are no names', () => {
  for (const name of ['../x', '', 'A', 'a/b', 'a'.repeat(33)])
    assert.throws(() => checkName(name), { code: 'sandbox.unknown' });
  checkName('square-2');
});

test('a start that fails over a record that was there before does not take the record back', async () => {
  const { lifecycle, did } = machine({ start: new ComicranError('sandbox.exists', 'there') }, 'vm1', true);
  await assert.rejects(lifecycle.start(config), { code: 'sandbox.exists' });
  assert.deepEqual(did, ['claim', 'start']);
});

test('a record in this machine’s name of a sandbox that it does not have is released by terminate and at the start', async () => {
  const { lifecycle, did } = machine({}, 'vm1', true);
  await lifecycle.terminate('square', 15, 0);
  assert.deepEqual(did, ['release']);
  await assert.rejects(lifecycle.terminate('square', 15, 0), { code: 'sandbox.unknown' });
});

test('a sandbox that is being ended cannot be given anything else to do', async () => {
  const { lifecycle, registry } = machine();
  await lifecycle.start(config);
  const ended = lifecycle.terminate('square', 15, 0);
  await new Promise((resolve) => setImmediate(resolve));
  if (registry.find('square') !== undefined) {
    assert.throws(() => registry.expect('square', 'running'), { code: 'sandbox.not-running' });
  }
  await ended;
});
