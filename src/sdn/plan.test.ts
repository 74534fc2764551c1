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
  reconcile,
  serviceEndKey,
} from './plan.ts';
import { applyEdits, type Edit, EMPTY_TABLES, type Location, type Service } from './tables.ts';

const SERVICE_ADDRESS = '10.77.0.1';
const LOCATION: Location = {
  sandbox: 'square',
  address: '10.88.0.5',
  vm: 'vm1',
  vmAddress: '10.77.1.2',
  epoch: 1n,
  migrationId: '',
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
  ]);
  const removed: Edit[] = [
    { kind: 'remove-service', service: SERVICE },
    { kind: 'remove-location', location: LOCATION },
  ];
  assert.deepEqual(describeChange(changeFor(removed, SERVICE_ADDRESS)), [
    'remove service 10.77.0.1:5006/udp',
    'remove route 10.88.0.5',
  ]);
});

test('a change of the owner is a route and nothing else', () => {
  const change = changeFor([{ kind: 'put-location', location: { ...LOCATION, vmAddress: '10.77.2.2' } }], 'x');
  assert.deepEqual(describeChange(change), ['set route 10.88.0.5 via 10.77.2.2']);
});

test('the content for tables', () => {
  assert.deepEqual(describeContent(contentFor(applyEdits(EMPTY_TABLES, PUT), SERVICE_ADDRESS)), [
    'route 10.88.0.5 via 10.77.1.2',
    'service 10.77.0.1:5006/udp to 10.88.0.5:6000',
  ]);
});

const host = fc.integer({ min: 1, max: 4 });
const content: fc.Arbitrary<KernelContent> = fc
  .record({
    routes: fc.array(fc.tuple(host, host), { maxLength: 4 }),
    services: fc.array(fc.tuple(host, host, host), { maxLength: 4 }),
  })
  .map(({ routes, services }) => ({
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
