import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseManagerConfig } from '../smanager/manager-config.ts';
import { labLayout, placeOf } from './layout.ts';
import { patienceOf, readRecord, removeRecord, writeManagerConfig, writeRecord } from './record.ts';

test('the lab is the one that the documentation draws', () => {
  const layout = labLayout(placeOf());
  assert.deepEqual(
    layout.nodes.map(({ netns, addresses }) => [netns, ...addresses]),
    [
      ['cr-ue', '10.70.0.2'],
      ['cr-sdn', '10.70.0.1', '10.71.1.1', '10.71.2.1'],
      ['cr-vm1', '10.71.1.2'],
      ['cr-vm2', '10.71.2.2'],
    ],
  );
  const [sdn, vm1] = layout.daemons.map(({ command }) => command.slice(1).join(' '));
  assert.equal(
    sdn,
    'sdn --listen 0.0.0.0:7500 --state /var/lib/comicran/lab/sdn --pki /var/lib/comicran/lab/pki --service-address 10.70.0.1',
  );
  assert.equal(
    vm1,
    'sdaemon --name vm1 --address 10.71.1.2 --listen 10.71.1.2:7400 --state /var/lib/comicran/lab/vm1 ' +
      '--pki /var/lib/comicran/lab/pki --sdn 10.71.1.1:7500',
  );
});

test('the SDN node as a virtual machine has the addresses that it has as a namespace, and cables lead to it', () => {
  const simulated = labLayout(placeOf());
  const [two, three] = ([2, 3] as const).map((machines) => labLayout({ ...placeOf(), machines }));
  assert.deepEqual(
    [simulated, two!, three!].map(({ sdnEndpoint, vms }) => ({ sdnEndpoint, vms })),
    Array(3).fill({
      sdnEndpoint: '10.70.0.1:7500',
      vms: simulated.vms,
    }),
  );
  const [sdn, vm1] = three!.machines;
  assert.deepEqual(
    sdn!.ports.map(({ address }) => address),
    simulated.nodes.find(({ name }) => name === 'sdn')!.addresses,
  );
  assert.deepEqual(three!.daemons, []);
  assert.deepEqual(vm1!.ports, [{ ...two!.machines[0]!.ports[0]!, near: { link: 'vm1', bridge: 'br-vm1' } }]);
  const bridges = three!.bridges.map(({ name }) => name);
  const ends = [...three!.links, ...three!.machines.flatMap(({ ports }) => ports)].map(({ near }) => near);
  for (const end of ends) assert.ok('bridge' in end && bridges.includes(end.bridge), end.link);
  for (const bridge of bridges) assert.equal(ends.filter((end) => 'bridge' in end && end.bridge === bridge).length, 2);
});

test('what is written for smanager is what smanager reads; a damaged record is none', () => {
  const home = mkdtempSync(join(tmpdir(), 'comicran-layout-'));
  try {
    const layout = labLayout({ ...placeOf(), directory: join(home, 'lab'), runDirectory: join(home, 'run') });
    writeManagerConfig(layout);
    assert.deepEqual(parseManagerConfig(readFileSync(layout.managerFile, 'utf8'), layout.managerFile), {
      sdn: { endpoint: '10.70.0.1:7500' },
      vms: {
        vm1: { endpoint: '10.71.1.2:7400', address: '10.71.1.2' },
        vm2: { endpoint: '10.71.2.2:7400', address: '10.71.2.2' },
      },
      pki: join(home, 'lab', 'pki'),
      netns: '/run/netns/cr-sdn',
    });
    const tcg = { accelerator: 'tcg', cpus: {}, memoryMib: 1024, clocksAhead: {}, sandboxes: [] } as const;
    const slow = patienceOf(tcg);
    writeManagerConfig(layout, slow);
    assert.equal(parseManagerConfig(readFileSync(layout.managerFile, 'utf8'), layout.managerFile).patience, slow);
    assert.ok(slow > 1);
    assert.equal(patienceOf({ ...tcg, accelerator: 'kvm' }), 1);
    assert.equal(readRecord(layout), undefined);
    const record = { version: 1, startedUnixMs: 5, daemons: { sdn: { pid: 17, startTicks: 4 } } } as const;
    writeRecord(layout, record);
    assert.deepEqual(readRecord(layout), record);
    for (const damaged of [{}, { version: 2, daemons: {} }, { version: 1, daemons: { sdn: { pid: -1 } } }, null]) {
      writeRecord(layout, damaged as never);
      assert.equal(readRecord(layout), undefined, JSON.stringify(damaged));
    }
    removeRecord(layout);
    assert.equal(readRecord(layout), undefined);
  } finally {
    rmSync(home, { recursive: true });
  }
});
