/** Needs root, /usr/bin/python3 and util-linux. Everything happens in namespaces and directories of its own. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { captureDescriptors } from '../../src/checkpoint/descriptors/capture.ts';
import { decodeDescriptorTable, encodeDescriptorTable } from '../../src/image/descriptors/codec.ts';
import type { DescriptorTableImage } from '../../src/image/descriptors/types.ts';
import { recreateDescriptors } from '../../src/restore/descriptors/recreate.ts';
import { needs } from '../support/needs.ts';
import { CASES } from './cases.ts';
import { comparable, drainContents } from './contents.ts';
import { describeDescriptors, describeSharing } from './describe.ts';
import { type Running, startStopped, startVessel, type Vessel } from './processes.ts';

const capture = ({ pid, pidfd, inherited }: Running): DescriptorTableImage =>
  captureDescriptors({ pid, pidfd, threads: [pid], inherited });

function recreate(vessel: Vessel, table: DescriptorTableImage): void {
  const inherited = new Map(vessel.inherited.map(({ name }, index) => [name, index + 1]));
  recreateDescriptors({ tracee: vessel.tracee, inherited }, table);
}

describe('descriptors', { skip: needs('root', 'python3', 'unshare', 'ip') }, () => {
  let directory = '';
  const memory = `/dev/shm/comicran-test-descriptors-${process.pid}`;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'comicran-descriptors-'));
  });
  after(() => {
    rmSync(directory, { recursive: true, force: true });
    rmSync(memory, { recursive: true, force: true });
  });

  for (const { name, python, exclusive } of CASES) {
    test(`${name}: captured without a trace, and recreated`, () => {
      rmSync(memory, { recursive: true, force: true });
      rmSync(directory, { recursive: true, force: true });
      for (const path of [memory, directory]) mkdirSync(path);
      const paths = `DIRECTORY = ${JSON.stringify(directory)}; MEMORY = ${JSON.stringify(memory)}`;
      const source = startStopped(`${paths}\n${python}`);
      let vessel: Vessel | undefined;
      try {
        vessel = startVessel();
        const before = describeDescriptors(source.pid);
        const table = capture(source);
        assert.deepEqual(describeDescriptors(source.pid), before, 'the capture left a trace');
        const sharing = describeSharing(source.pid);
        const contents = drainContents(source.pid);
        if (exclusive === true) source.end();

        recreate(vessel, decodeDescriptorTable(encodeDescriptorTable(table)));
        assert.deepEqual(describeDescriptors(vessel.pid), before);
        assert.deepEqual(describeSharing(vessel.pid), sharing);
        assert.deepEqual(comparable(capture(vessel)), comparable(table));
        assert.deepEqual(drainContents(vessel.pid), contents);
      } finally {
        vessel?.end();
        source.end();
      }
    });
  }
});
