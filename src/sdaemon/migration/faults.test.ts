import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FaultTrigger, parseFault, parseFaultSource, withFaults } from './faults.ts';

class Counter {
  #count = 0;
  add(): number {
    return ++this.#count;
  }
}

const ports = () => ({
  process: { freeze: async () => new Counter() },
  connect: async () => new Counter(),
  nothing: undefined,
});

test('a fault strikes once, at its point, before or after the call', async () => {
  const world = withFaults(ports(), 'source', new FaultTrigger(parseFault('source.process.freeze:before=fail')));
  assert.throws(() => world.process.freeze(), /a test made source.process.freeze:before fail/);
  assert.equal((await world.process.freeze()).add(), 1);
});

test('what a call returns has points of its own', async () => {
  const world = withFaults(ports(), 'source', new FaultTrigger(parseFault('source.channel.add:after=fail')));
  const channel = await world.connect();
  assert.throws(() => channel.add(), /source.channel.add:after/);
  assert.equal(channel.add(), 2);
});

test('without a fault nothing is wrapped', () => {
  const plain = ports();
  assert.equal(withFaults(plain, 'source', new FaultTrigger(undefined)), plain);
});

test('a fault that is none is refused', () => {
  assert.throws(() => parseFault('source.process.freeze=kill'), { code: 'usage' });
  assert.throws(() => parseFault('somewhere.process.freeze:after=kill'), { code: 'usage' });
});

test('a fault in a file is looked for when a migration begins, and strikes once', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-faults-'));
  try {
    const file = join(directory, 'fault');
    const trigger = new FaultTrigger(parseFaultSource(`@${file}`));
    trigger.load();
    assert.equal(trigger.armed, false);
    writeFileSync(file, 'source.process.freeze:before=fail\n');
    trigger.load();
    const world = withFaults(ports(), 'source', trigger);
    assert.throws(() => world.process.freeze(), /a test made source.process.freeze:before fail/);
    assert.equal(existsSync(file), false);
    trigger.load();
    assert.equal(trigger.armed, false);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
