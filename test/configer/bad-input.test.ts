/** Each kind of bad input that is known is one clear error, with file, line and column, and leaves nothing behind. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { buildElf } from '../support/elf-builder.ts';
import { fileTree } from '../support/file-tree.ts';

const PROGRAM = join(import.meta.dirname, '../../bin/comicran');
const BASE = `id: box
process: {executable: {source: server, path: /server}}
network: {address: 10.88.0.5}
`;
const bomb = (levels: number): string =>
  Array.from(
    { length: levels },
    (_, n) =>
      `k${n}: &k${n} [${
        n === 0
          ? 'x'
          : Array(9)
              .fill(`*k${n - 1}`)
              .join()
      }]`,
  ).join('\n');

/** What is appended to BASE, or replaces a line of it, and the one sentence that is said. */
const CASES: readonly [string, string, RegExp][] = [
  ['an unknown key', 'writeable: []', /bad\.yaml:4:1: writeable: unknown key: .*did you mean writable\?/],
  [
    'a missing file',
    'files: [/etc/hosts, {source: none, path: /n}]',
    /bad\.yaml:4:21: files\[1\]: T\/none: it does not exist/,
  ],
  ['a missing program', 'executables:\n  - /no/such', /bad\.yaml:5:5: executables\[0\]: \/no\/such: it does not exist/],
  [
    'a loop of links on the machine',
    'files: [{source: loop, path: /l}]',
    /bad\.yaml:4:9: files\[0\]: .*loop: its symbolic links form a loop/,
  ],
  [
    'a loop of links in the sandbox',
    'symlinks: [{path: /a, target: b}, {path: /b, target: /a}]',
    /bad\.yaml:4:31: symlinks\[0\]\.target: b: not a part of a loop of links/,
  ],
  [
    'a link out of the root',
    'symlinks: [{path: /a/b, target: ../../c}]',
    /bad\.yaml:4:33: symlinks\[0\]\.target: .* climb above the root/,
  ],
  [
    'a path out of the root',
    'files: [{source: server, path: /../x}]',
    /bad\.yaml:4:32: files\[0\]\.path: .* without \. and \.\./,
  ],
  [
    'a place in /proc',
    'files: [{source: server, path: /proc/x}]',
    /bad\.yaml:4:9: files\[0\]: \/proc\/x cannot be placed/,
  ],
  [
    'one place twice',
    'files: [{source: data, path: /d}, {source: server, path: /d}]',
    /bad\.yaml:4:35: files\[1\]: \/d would be the file .*data .* and the file .*server/,
  ],
  [
    'a place below a file',
    'files: [{source: data, path: /server/x}]',
    /bad\.yaml:4:9: files\[0\]: \/server\/x cannot lie below \/server/,
  ],
  [
    'a writable path that hides a file',
    'writable: [/tmp, /server]',
    /bad\.yaml:4:18: writable\[1\]: the sandbox box cannot be made/,
  ],
  ['an id that is none', 'id: Box_1', /bad\.yaml:1:5: id: "Box_1": a name of 1 to 32/],
  [
    'a user id out of range',
    'process: {executable: /a, user: {uid: 4294967295, gid: 0}}',
    /bad\.yaml:2:39: process\.user\.uid: 4294967295: an id from 0/,
  ],
  ['an address that is none', 'network: {address: 10.88.0.256}', /bad\.yaml:3:20: network\.address: "10\.88\.0\.256"/],
  [
    'a port twice',
    'network: {address: 10.88.0.5, ports: [{port: 5}, {port: 5}]}',
    /bad\.yaml:3:57: network\.ports\[1\]\.port: 5\/udp: only once/,
  ],
  [
    'a library that is missing',
    'executables: [{source: needy, path: /needy}]',
    /bad\.yaml:4:15: executables\[0\]: the library libnowhere\.so of \/needy was not found/,
  ],
  [
    'a locale that is missing',
    'process: {executable: {source: server, path: /server}, environment: {TZ: No/Where}}',
    /bad\.yaml:2:10: process: the time zone No\/Where does not exist/,
  ],
  [
    'aliases that blow up to 1 GB',
    bomb(9),
    /bad\.yaml:\d+:\d+: \*k\d: the aliases up to here stand for more than 10000 values/,
  ],
  ['a key twice', 'files: []\nfiles: []', /bad\.yaml:5:1: the key files stands here twice/],
  [
    'a size that is none',
    'limits: {memory: 512MB}',
    /bad\.yaml:4:18: limits\.memory: "512MB": a number of bytes from 1, or such as 512M/,
  ],
  ['nesting without end', `files: ${'['.repeat(100_000)}`, /bad\.yaml:4:\d+: nested too deeply/],
];

test('one clear error each, and nothing is written', () => {
  using tree = fileTree({
    server: buildElf({ static: true, type: 2 }),
    needy: buildElf({ needed: ['libnowhere.so'] }),
    data: 'data',
    loop: { link: 'loop' },
  });
  for (const [name, text, expected] of CASES) {
    const key = text.slice(0, text.indexOf(':') + 1);
    const lines = BASE.split('\n').map((line) => (line.startsWith(key) ? text : line));
    tree.add({ 'bad.yaml': BASE.includes(`${key} `) ? lines.join('\n') : `${BASE}${text}\n` });
    const before = readdirSync(tree.root);
    const { status, stdout, stderr } = spawnSync(
      PROGRAM,
      ['configer', tree.at('bad.yaml'), '-o', tree.at('out.yaml')],
      {
        encoding: 'utf8',
        timeout: 60_000,
      },
    );
    const said = stderr.replaceAll(tree.root, 'T');
    assert.deepEqual([status, stdout], [1, ''], `${name}: ${said}`);
    assert.match(said, expected, name);
    assert.match(said, /^comicran: [\s\S]*\n {2}next: [^\n]+\n$/, name);
    assert.equal(said.split('\n').filter((line) => line.includes('bad.yaml:')).length, 1, `${name}: ${said}`);
    assert.deepEqual(readdirSync(tree.root), before, name);
  }
});

test('a file of 1 GB is not read', () => {
  using tree = fileTree({ 'huge.yaml': 'id: x\n' });
  truncateSync(tree.at('huge.yaml'), 2 ** 30);
  const commands = [
    ['configer'],
    ['configer', 'tree'],
    ['configer', 'check'],
    ['jailor', 'run'],
    ['smanager', 'start'],
  ];
  for (const words of commands) {
    const { stderr } = spawnSync(PROGRAM, [...words, tree.at('huge.yaml')], {
      encoding: 'utf8',
      timeout: 60_000,
    });
    assert.match(stderr, /huge\.yaml:1:1: it is longer than \d+ bytes/);
  }
});

test('a key that stands twice in JSON is an error, too', () => {
  using tree = fileTree({ 'bad.json': '{"id": "a",\n "id": "b"}\n' });
  const { status, stderr } = spawnSync(PROGRAM, ['configer', tree.at('bad.json')], { encoding: 'utf8' });
  assert.equal(status, 1);
  assert.match(stderr, /bad\.json:2:2: the key id stands here twice; keys must be unique/);
});
