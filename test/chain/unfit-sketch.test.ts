/** What was built of a sketch cannot always be used: a process may have other threads when it is stopped. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { stringify } from 'yaml';
import { runComicran } from '../../src/lab/demo/program.ts';
import { migrate, start } from '../support/lab.ts';
import { needs } from '../support/needs.ts';
import { underLoad } from '../support/under-load.ts';

test('in a lab', { skip: needs('root', 'python3') }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-restless-'));
  before(async () => {
    await runComicran(['lab', 'up']);
    const base = {
      id: 'restless',
      process: { executable: '/usr/bin/python3', arguments: ['-u', '/srv/server.py'] },
      network: { address: '10.88.0.86', ports: [{ port: 5006, service: 5086 }] },
      files: [{ source: join(import.meta.dirname, 'programs/restless-server.py'), path: '/srv/server.py' }],
    };
    writeFileSync(join(directory, 'base.yaml'), stringify(base));
    await start(join(directory, 'base.yaml'), 'vm1');
  });
  after(async () => {
    await runComicran(['lab', 'down']);
    rmSync(directory, { recursive: true });
  });

  await t.test(
    'a process that never has the same threads twice is moved by postcopy, and nothing is lost',
    async () => {
      await underLoad('restless', 100, async () => {
        for (const to of ['vm2', 'vm1', 'vm2'])
          assert.equal((await migrate('restless', to, 'postcopy')).mode, 'postcopy');
      });
    },
  );
});
