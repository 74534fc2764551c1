import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  applyChange,
  changeFor,
  contentFor,
  describeChange,
  describeContent,
  isNoChange,
  type KernelContent,
  passageKey,
  reconcile,
  serviceEndKey,
} from './plan.ts';
import { type Announcement, applyEdits, type Edit, EMPTY_TABLES, type Location, type Service } from './tables.ts';

const SERVICE_ADDRESS = '10.77.0.1';
const LOCATION: Location = {
  sandbox: 'square',
  address: '10.88.0.5',
  vm: 'vm1',
  vmAddress: '10.77.1.2',
  epoch: 1n,
  migrationId: '',
  via: '10.77.1.2',
};
const SERVICE: Service = {
  port: 5006,
  protocol: 'udp',
  sandbox: 'square',
  sandboxAddress: '10.88.0.5',
  sandboxPort: 6000,
};
const PUT: Edit[] = [
  { kind: 'put-location', location: LOCATION },
  { kind: 'put-service', service: SERVICE },
];

test('what edits are in the kernel', () => {
  assert.deepEqual(describeChange(changeFor(PUT, SERVICE_ADDRESS)), [
    'set route 10.88.0.5 via 10.77.1.2',
    'add service 10.77.0.1:5006/udp to 10.88.0.5:6000',
    'guard 10.88.0.5',
  ]);
  const removed: Edit[] = [
    { kind: 'remove-service', service: SERVICE },
    { kind: 'remove-location', location: LOCATION },
  ];
  assert.deepEqual(describeChange(changeFor(removed, SERVICE_ADDRESS)), [
    'remove service 10.77.0.1:5006/udp',
    'stop guarding 10.88.0.5',
    'remove route 10.88.0.5',
  ]);
});

test('a change of the owner is a route and nothing else', () => {
  const change = changeFor(
    [{ kind: 'set-owner', location: { ...LOCATION, vmAddress: '10.77.2.2', via: '10.77.2.2' } }],
    'x',
  );
  assert.deepEqual(describeChange(change), ['set route 10.88.0.5 via 10.77.2.2']);
});

test('the content for tables', () => {
  assert.deepEqual(describeContent(contentFor(applyEdits(EMPTY_TABLES, PUT), SERVICE_ADDRESS, 0)), [
    'guard 10.88.0.5',
    'route 10.88.0.5 via 10.77.1.2',
    'service 10.77.0.1:5006/udp to 10.88.0.5:6000',
  ]);
});

const host = fc.integer({ min: 1, max: 4 });
const content: fc.Arbitrary<KernelContent> = fc
  .record({
    routes: fc.array(fc.tuple(host, host), { maxLength: 4 }),
    services: fc.array(fc.tuple(host, host, host), { maxLength: 4 }),
    guarded: fc.array(host, { maxLength: 4 }),
    passages: fc.array(fc.tuple(host, host), { maxLength: 4 }),
  })
  .map(({ routes, services, guarded, passages }) => ({
    guarded: new Set(guarded.map((to) => `10.88.0.${to}`)),
    passages: new Map(
      passages.map(([to, from]) => {
        const passage = { address: `10.88.0.${to}`, link: `vm${from}`, untilMs: 1 };
        return [passageKey(passage), passage];
      }),
    ),
    routes: new Map(routes.map(([to, via]) => [`10.88.0.${to}`, `10.77.0.${via}`])),
    translations: new Map(
      services.map(([port, to, toPort]) => {
        const end = { address: SERVICE_ADDRESS, port, protocol: 'udp' as const };
        return [serviceEndKey(end), { ...end, toAddress: `10.88.0.${to}`, toPort }];
      }),
    ),
  }));

test('reconciliation leads from anything to what is wanted, and then has nothing left to do', () => {
  fc.assert(
    fc.property(content, content, (wanted, found) => {
      const change = reconcile(wanted, found);
      const after = applyChange(found, change);
      assert.deepEqual(describeContent(after), describeContent(wanted));
      assert.ok(isNoChange(reconcile(wanted, after)));
      // What is right already is left alone: its counters go on.
      for (const end of change.removeTranslations) {
        const target = wanted.translations.get(serviceEndKey(end));
        assert.notDeepEqual(target, found.translations.get(serviceEndKey(end)));
      }
    }),
  );
});

const ANNOUNCEMENT: Announcement = {
  ...{ sandbox: 'square', address: '10.88.0.5', migrationId: 'm1', epoch: 1n, from: 'vm1', to: 'vm2' },
  fromAddress: '10.77.1.2',
  ...{ fromLink: 'eth1', toLink: 'eth2', untilMs: 5_000, undecided: false, lateRoute: false },
};

test('an announced migration lets packets come from both links, once the destination is known, until its time is over', () => {
  const put = (announcement: Announcement): Edit[] => [...PUT, { kind: 'put-announcement', announcement }];
  const passages = (announcement: Announcement, nowMs: number) =>
    [...contentFor(applyEdits(EMPTY_TABLES, put(announcement)), SERVICE_ADDRESS, nowMs).passages.keys()].toSorted();
  assert.deepEqual(passages(ANNOUNCEMENT, 0), ['10.88.0.5 from eth1', '10.88.0.5 from eth2']);
  assert.deepEqual(passages(ANNOUNCEMENT, 5_000), []);
  assert.deepEqual(passages({ ...ANNOUNCEMENT, toLink: '' }, 0), []);
  assert.deepEqual(passages({ ...ANNOUNCEMENT, toLink: 'eth1' }, 0), ['10.88.0.5 from eth1'], 'both behind one link');
  assert.deepEqual(
    describeChange(changeFor([{ kind: 'remove-announcement', announcement: ANNOUNCEMENT }], SERVICE_ADDRESS)),
    ['end passage of 10.88.0.5 from eth1', 'end passage of 10.88.0.5 from eth2'],
  );
});
