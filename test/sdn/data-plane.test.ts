/** The fake data plane and the kernel's pass the same tests. The kernel's needs root. */
import assert from 'node:assert/strict';
import { after, afterEach, beforeEach, describe, test } from 'node:test';
import { inNetns } from '../../src/linux/netns.ts';
import { Nftables } from '../../src/linux/nftables.ts';
import { addRoute, listRoutes, setLink } from '../../src/linux/rtnetlink/index.ts';
import type { DataPlane } from '../../src/sdn/data-plane.ts';
import { FakeDataPlane } from '../../src/sdn/fake-data-plane.ts';
import { openKernelDataPlane } from '../../src/sdn/kernel-data-plane.ts';
import { describeContent, type KernelChange, NO_CHANGE, type Translation } from '../../src/sdn/plan.ts';
import { needs } from '../support/needs.ts';
import { makeTopology, SERVICE_ADDRESS, type Topology, VM_ADDRESS } from './topology.ts';

const change = (part: Partial<KernelChange>): KernelChange => ({ ...NO_CHANGE, ...part });
const END = { address: SERVICE_ADDRESS, port: 5006, protocol: 'udp' } as const;
const TRANSLATION: Translation = { ...END, toAddress: '10.88.0.5', toPort: 6000 };
const ROUTE = { address: '10.88.0.5', via: VM_ADDRESS.vm1 };
const WHOLE = ['route 10.88.0.5 via 10.77.1.2', 'service 10.77.0.1:5006/udp to 10.88.0.5:6000'];

/** What every data plane keeps. */
function suite(open: () => DataPlane): void {
  let plane: DataPlane;
  const dump = (): string[] => describeContent(plane.read());
  beforeEach(() => {
    plane = open();
    plane.flush();
    plane.prepare();
  });
  afterEach(() => {
    plane.flush();
    plane.close();
    plane.close();
  });

  test('is empty, takes a change, and gives it back', () => {
    assert.deepEqual(dump(), []);
    plane.apply(change({ setRoutes: [ROUTE], addTranslations: [TRANSLATION] }));
    assert.deepEqual(dump(), WHOLE);
    plane.apply(change({ removeTranslations: [END], removeRoutes: [ROUTE.address] }));
    assert.deepEqual(dump(), []);
  });

  test('a route is put in the place of the one before', () => {
    plane.apply(change({ setRoutes: [ROUTE] }));
    plane.apply(change({ setRoutes: [ROUTE] }));
    plane.apply(change({ setRoutes: [{ ...ROUTE, via: VM_ADDRESS.vm2 }] }));
    assert.deepEqual(dump(), ['route 10.88.0.5 via 10.77.2.2']);
    plane.apply(change({ removeRoutes: [ROUTE.address] }));
    plane.apply(change({ removeRoutes: [ROUTE.address] }));
    assert.deepEqual(dump(), []);
  });

  test('a translation is replaced in one change', () => {
    plane.apply(change({ addTranslations: [TRANSLATION] }));
    const next = { ...TRANSLATION, toAddress: '10.88.0.6' };
    plane.apply(change({ removeTranslations: [END], addTranslations: [next] }));
    assert.deepEqual(dump(), ['service 10.77.0.1:5006/udp to 10.88.0.6:6000']);
  });

  test('translations: all of a change or none', () => {
    const other = { ...TRANSLATION, port: 7 };
    plane.apply(change({ addTranslations: [TRANSLATION] }));
    const before = dump();
    assert.throws(() => plane.apply(change({ addTranslations: [other, TRANSLATION] })));
    assert.throws(() => plane.apply(change({ addTranslations: [other, { ...TRANSLATION, toPort: 1 }] })));
    assert.throws(() => plane.apply(change({ removeTranslations: [END, { ...END, port: 8 }] })));
    assert.deepEqual(dump(), before);
  });

  test('udp and tcp of one port are two services', () => {
    plane.apply(change({ addTranslations: [TRANSLATION, { ...TRANSLATION, protocol: 'tcp' }] }));
    assert.equal(plane.read().translations.size, 2);
    assert.equal(plane.counts().length, 2);
  });

  test('an address that is not on a network of this node cannot be a next hop', () => {
    plane.linkTo(VM_ADDRESS.vm1);
    for (const address of ['192.0.2.1', SERVICE_ADDRESS]) {
      assert.throws(() => plane.linkTo(address), { code: 'vm.unreachable' }, address);
    }
    assert.throws(() => plane.apply(change({ setRoutes: [{ ...ROUTE, via: '192.0.2.1' }] })));
    assert.deepEqual(dump(), []);
  });

  test('every service has a count, from nothing', () => {
    plane.apply(change({ addTranslations: [TRANSLATION] }));
    assert.deepEqual(plane.counts(), [{ ...END, packets: 0n, bytes: 0n }]);
  });

  test('passages are set, set anew, ended, and ended once more; addresses are guarded until they are not', () => {
    const passage = (link: string, seconds: number) => ({
      address: ROUTE.address,
      link,
      untilMs: Date.now() + seconds * 1000,
    });
    plane.apply(change({ guard: [ROUTE.address], setPassages: [passage('vm1', 60), passage('vm2', 60)] }));
    const all = [
      `guard ${ROUTE.address}`,
      `passage of ${ROUTE.address} from vm1`,
      `passage of ${ROUTE.address} from vm2`,
    ];
    assert.deepEqual(dump(), all);
    const until = (link: string) => plane.read().passages.get(`${ROUTE.address} from ${link}`)?.untilMs ?? 0;
    assert.ok(until('vm1') > Date.now() + 50_000 && until('vm1') < Date.now() + 62_000);
    plane.apply(change({ guard: [ROUTE.address], setPassages: [passage('vm1', 5)] }));
    assert.deepEqual(dump(), all);
    assert.ok(until('vm1') < Date.now() + 7_000);
    assert.deepEqual([...plane.refused()], [[ROUTE.address, 0n]]);
    for (let i = 0; i < 2; i++) plane.apply(change({ removePassages: [passage('vm1', 60)] }));
    assert.deepEqual(dump(), [all[0], all[2]]);
    plane.apply(change({ unguard: [ROUTE.address], removePassages: [passage('vm2', 60), passage('vm1', 60)] }));
    assert.deepEqual(dump(), []);
  });

  test('a rehearsal of a route leaves nothing', () => {
    plane.apply(change({ setRoutes: [ROUTE] }));
    const before = dump();
    plane.rehearse({ ...ROUTE, via: VM_ADDRESS.vm2 });
    assert.deepEqual(dump(), before);
  });

  test('flush takes everything, and can be repeated', () => {
    plane.apply(change({ setRoutes: [ROUTE], addTranslations: [TRANSLATION] }));
    plane.flush();
    plane.flush();
    plane.prepare();
    assert.deepEqual(dump(), []);
  });
}

describe('the fake data plane', () => {
  suite(() => new FakeDataPlane((address) => (Object.values(VM_ADDRESS) as string[]).includes(address)));
});

describe("the kernel's data plane", { skip: needs('root') }, () => {
  const topology: Topology = makeTopology();
  const open = (): DataPlane => inNetns(topology.netns.sdn, openKernelDataPlane);
  after(() => topology.close());
  suite(open);

  test('what is in the kernel is still there for the next one, with its counts', () => {
    const first = open();
    first.apply(change({ setRoutes: [ROUTE], addTranslations: [TRANSLATION] }));
    first.close();
    const second = open();
    assert.deepEqual(describeContent(second.read()), WHOLE);
    second.flush();
    second.close();
  });

  test('what others have put there is left alone', () => {
    const plane = open();
    const foreign = { destination: '10.99.0.0/24', gateway: VM_ADDRESS.vm1 };
    topology.sdnRoutes.apply(addRoute(foreign));
    using nft = inNetns(topology.netns.sdn, () => new Nftables());
    nft.applyText('a table of somebody else', 'add table ip other');
    assert.deepEqual(describeContent(plane.read()), []);
    plane.flush();
    assert.ok(listRoutes(topology.sdnRoutes).some(({ destination }) => destination === foreign.destination));
    assert.ok(nft.list({ table: { family: 'ip', name: 'other' } }) !== undefined);
    assert.equal(nft.list({ table: { family: 'ip', name: 'comicran' } }), undefined);
    plane.close();
  });

  test('a table of another form is replaced', () => {
    using nft = inNetns(topology.netns.sdn, () => new Nftables());
    nft.applyText(
      'an old form',
      'flush ruleset\nadd table ip comicran\nadd map ip comicran services { type mark : mark; }',
    );
    const plane = open();
    plane.apply(change({ addTranslations: [TRANSLATION] }));
    assert.equal(plane.read().translations.size, 1);
    plane.flush();
    plane.close();
  });

  test('a table that is taken away is noticed, and made again', () => {
    const plane = open();
    using nft = inNetns(topology.netns.sdn, () => new Nftables());
    nft.applyText('somebody reloads the firewall', 'flush ruleset');
    assert.throws(() => plane.read());
    inNetns(topology.netns.sdn, () => plane.prepare());
    assert.deepEqual(describeContent(plane.read()), []);
    plane.flush();
    plane.close();
  });

  test('a link that goes down takes its routes: that is seen', () => {
    const plane = open();
    plane.apply(change({ setRoutes: [ROUTE] }));
    topology.sdnRoutes.apply(setLink('vm1', { up: false }));
    assert.deepEqual(describeContent(plane.read()), []);
    assert.throws(() => plane.linkTo(VM_ADDRESS.vm1), { code: 'vm.unreachable' });
    topology.sdnRoutes.apply(setLink('vm1', { up: true }));
    plane.close();
  });
});
