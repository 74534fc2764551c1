import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ComicranError } from './errors.ts';
import { FULL_CONFIG_SCHEMA, parseFullConfig } from './full-config.ts';

const SHA = 'ab'.repeat(32);
const GOOD = `version: 1
id: square
process:
  executable: /usr/bin/node
  arguments: ["/srv/main.js", "--port", "5006"]
  environment: {LANG: C}
  workingDirectory: /srv
network:
  address: 10.88.0.5
  ports:
    - {port: 5006, protocol: udp, publish: 5006, service: 5006}
files:
  - path: /usr/bin/node
    source: /opt/node
    sha256: ${SHA}
    size: 10
    mode: '0755'
symlinks:
  - {path: /bin, target: usr/bin}
directories:
  - {path: /usr, mode: 0755}
writable: [/tmp]
`;

function problemsOf(text: string): string[] {
  try {
    parseFullConfig(text, 'full.yaml');
  } catch (thrown) {
    assert.ok(thrown instanceof ComicranError, `${thrown}`);
    assert.equal(thrown.code, 'config.invalid');
    return thrown.message
      .split('\n')
      .slice(1)
      .map((line) => line.trim());
  }
  return [];
}

test('YAML and JSON give the same configuration, and what is printed as JSON is read back', () => {
  const config = parseFullConfig(GOOD, 'full.yaml');
  assert.equal(config.files[0]!.mode, 0o755);
  assert.equal(config.directories[0]!.mode, 0o755);
  assert.deepEqual(config.network.ports, [{ port: 5006, protocol: 'udp', publish: 5006, service: 5006 }]);
  assert.deepEqual(parseFullConfig(JSON.stringify(config), 'x.json'), config);
  assert.deepEqual(parseFullConfig(JSON.stringify(config, null, '\t'), 'x.json'), config);
});

test('defaults stand in for what is left out', () => {
  const config = parseFullConfig(
    `{version: 1, id: a, process: {executable: /a}, network: {address: 10.0.0.1},
      files: [{path: /a, source: /b, sha256: ${SHA}, size: 0, mode: '755'}]}`,
    'x',
  );
  assert.deepEqual(config, {
    version: 1,
    id: 'a',
    process: { executable: '/a', arguments: [], environment: {}, workingDirectory: '/' },
    network: { address: '10.0.0.1', ports: [] },
    files: [{ path: '/a', source: '/b', sha256: SHA, size: 0, mode: 0o755 }],
    symlinks: [],
    directories: [],
    writable: [],
  });
});

test('every problem is reported at once, with file, line, column, key, value and what is allowed', () => {
  const text = GOOD.replace('id: square', 'id: Square')
    .replace('port: 5006', 'port: 70000')
    .replace('10.88.0.5', '10.88.0.555')
    .replace('writable', 'writeable')
    .replace('  workingDirectory: /srv', '  workingDirectory: ../srv')
    .replace('    size: 10\n', '');
  assert.deepEqual(problemsOf(text), [
    'full.yaml:2:5: id: "Square": a name of 1 to 32 of a-z, 0-9 and -, with a letter first',
    'full.yaml:7:21: process.workingDirectory: "../srv": an absolute path without . and .. and double slashes',
    'full.yaml:9:12: network.address: "10.88.0.555": an IPv4 address that can be given to a sandbox, such as 10.88.0.5',
    'full.yaml:11:14: network.ports[0].port: 70000: a port from 1 to 65535',
    'full.yaml:13:5: files[0].size: missing: a number of bytes from 0 to 9007199254740991',
    'full.yaml:21:1: writeable: unknown key: one of version, id, root, process, network, files, symlinks, directories, ' +
      'writable, mounts, limits, security, restart, logs, health; did you mean writable?',
  ]);
});

test('a problem in JSON has its line as well', () => {
  const config = parseFullConfig(GOOD, 'full.yaml');
  const text = JSON.stringify({ ...config, id: 7 }, null, 2);
  assert.deepEqual(problemsOf(text), [
    'full.yaml:3:9: id: 7: a name of 1 to 32 of a-z, 0-9 and -, with a letter first',
  ]);
});

const CONFLICTS: readonly [string, string, string, RegExp][] = [
  ['a path twice', '/bin, target', '/usr/bin/node, target', /symlinks\[0\]\.path: .*it is a file already/],
  ['a file below a file', '{path: /bin', '{path: /usr/bin/node/x', /not below \/usr\/bin\/node, which is a file/],
  [
    'a file below a link',
    'path: /bin',
    'path: /usr/bin',
    /files\[0\]\.path: .*not below \/usr\/bin, which is a symlink/,
  ],
  ['a file below a writable path', '[/tmp]', '[/usr/bin]', /not below \/usr\/bin, which is an empty writable/],
  ['a writable root', '[/tmp]', '[/]', /writable\[0\]: \/: not the root/],
  ['a file in /proc', 'path: /bin', 'path: /proc/x', /not in \/proc, which every sandbox has/],
  [
    'an executable that is not there',
    'executable: /usr/bin/node',
    'executable: /usr/bin/x',
    /the path of one of the files/,
  ],
  ['an executable without x', "'0755'", "'0644'", /its mode has no x/],
  ['a port twice', '- {port: 5006', '- {port: 5006}\n    - {port: 5006', /ports\[1\]\.port: 5006\/udp: only once/],
];
for (const [name, from, to, expected] of CONFLICTS) {
  test(`refused: ${name}`, () => {
    assert.ok(GOOD.includes(from));
    const problems = problemsOf(GOOD.replace(from, to));
    assert.match(problems.join('\n'), expected);
    assert.match(problems[0]!, /^full\.yaml:\d+:\d+: /);
  });
}

test('the executable may be named by way of links, and a loop of them is refused', () => {
  assert.deepEqual(problemsOf(GOOD.replace('executable: /usr/bin/node', 'executable: /bin/node')), []);
  assert.match(
    problemsOf(
      GOOD.replace('executable: /usr/bin/node', 'executable: /bin/node').replace('target: usr/bin', 'target: bin'),
    )[0]!,
    /process\.executable: \/bin\/node: the path of one of the files/,
  );
});

test('/dev/shm may be writable although /dev is the sandbox’s own', () => {
  assert.deepEqual(problemsOf(GOOD.replace('[/tmp]', '[/tmp, /dev/shm]')), []);
  assert.equal(problemsOf(GOOD.replace('[/tmp]', '[/dev]')).length, 1);
});

const BAD_TEXTS: readonly [string, string, RegExp][] = [
  ['nothing', '', /full\.yaml:?.*: empty: a full configuration/],
  ['a key twice', `${GOOD}id: b\n`, /^full\.yaml:23:1: the key id stands here twice/],
  ['two documents', `${GOOD}---\na: 1\n`, /multiple documents/],
  ['unclosed quote', 'id: "abc', /full\.yaml:1:\d+: Missing closing/],
  ['an unknown tag', 'id: !ruby/object x', /full\.yaml:1:5: Unresolved tag/],
  ['an unknown alias', 'id: *nobody', /^full\.yaml:1:5: \*nobody: there is no &nobody before it/],
  ['deep nesting', '['.repeat(50_000), /nested too deeply/],
  ['deep mappings', '{a: '.repeat(50_000), /nested too deeply/],
  [
    'an alias bomb',
    `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefgh'
      .split('')
      .map((name, index) => `${name}: &${name} [${`*${'abcdefgh'[index]},`.repeat(9)}]`)
      .join('\n')}`,
    /^full\.yaml:5:8: \*d: the aliases up to here stand for more than 10000 values/,
  ],
];
for (const [name, text, expected] of BAD_TEXTS) {
  test(`refused text: ${name}`, () => assert.match(problemsOf(text).join('\n'), expected));
}

test('a mapping that contains itself is refused where it does', () => {
  assert.deepEqual(problemsOf('&a {id: *a, process: *a}'), ['full.yaml:1:9: *a: it is a part of what it stands for']);
});

test('a base configuration is told by name, with what to do', () => {
  assert.throws(() => parseFullConfig('id: square\nprocess: {executable: /bin/x}\n', 'square.yaml'), {
    message: 'square.yaml is a base configuration, and a full one is needed',
  });
});

test('any text is a configuration or one ComicranError', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => void problemsOf(text)));
  const fragment = fc.constantFrom(
    'a',
    'id',
    ': ',
    '- ',
    '\n',
    '  ',
    '{',
    '}',
    '[',
    ']',
    ',',
    '"',
    "'",
    '&x ',
    '*x ',
    '? ',
    '|',
    '>',
    '#',
    '!',
    '%',
    '\t',
    '---',
    '...',
    '0',
    '<<',
    '@',
    '\u{feff}',
  );
  fc.assert(
    fc.property(fc.array(fragment, { maxLength: 60 }), (parts) => void problemsOf(parts.join(''))),
    { numRuns: 1000 },
  );
});

test('any value at any key is accepted or reported, never thrown', () => {
  const config: unknown = parseFullConfig(GOOD, 'x');
  fc.assert(
    fc.property(fc.jsonValue(), fc.nat(), (value, pick) => {
      const copy = structuredClone(config);
      const places: [Record<string, unknown>, string][] = [];
      const walk = (node: unknown): void => {
        if (typeof node !== 'object' || node === null) return;
        for (const key of Object.keys(node)) {
          const parent = node as Record<string, unknown>;
          places.push([parent, key]);
          walk(parent[key]);
        }
      };
      walk(copy);
      const [parent, key] = places[pick % places.length]!;
      parent[key] = value;
      problemsOf(JSON.stringify(copy));
    }),
    { numRuns: 500 },
  );
});

test('the names of the object prototype are unknown keys like any other', () => {
  for (const key of ['__proto__', 'constructor', 'toString']) {
    assert.match(problemsOf(`${GOOD}${key}: {x: 1}\n`).join(), new RegExp(`${key}: unknown key`));
    const json = JSON.stringify(parseFullConfig(GOOD, 'x')).replace('{', `{"${key}":{"version":1},`);
    assert.match(problemsOf(json).join(), new RegExp(`${key}: unknown key`));
  }
});

test('an environment keeps a variable with any name', () => {
  const config = parseFullConfig(GOOD.replace('{LANG: C}', '{__proto__: a, constructor: b}'), 'x');
  assert.deepEqual(Object.entries(config.process.environment), [
    ['__proto__', 'a'],
    ['constructor', 'b'],
  ]);
});

test('the schema says what is allowed at every key', () => {
  assert.deepEqual(Object.keys(FULL_CONFIG_SCHEMA.shape ?? {}).slice(0, 3), ['version', 'id', 'root']);
});

test('what a sandbox may do and use is read, and its mistakes are told', () => {
  const containment = `mounts:
  - {kind: tmpfs, path: /var/lib/app, size: 1048576, executable: true}
  - {kind: bind, path: /srv/data, source: /srv/data}
limits: {memory: 1048576, pids: 10, cpuWeight: 50, cpuPercent: 150, ioWeight: 10, ioReadBytes: 1, ioWriteBytes: 2}
security: {capabilities: [NET_RAW], systemCalls: [mbind], userNamespace: false, firstId: 65536}
`;
  const config = parseFullConfig(`${GOOD}${containment}`, 'full.yaml');
  assert.deepEqual(config.mounts?.[1], { kind: 'bind', path: '/srv/data', source: '/srv/data' });
  assert.deepEqual(config.security, {
    ...{ capabilities: ['NET_RAW'], systemCalls: ['mbind'] },
    ...{ userNamespace: false, firstId: 65_536 },
  });
  assert.deepEqual(parseFullConfig(JSON.stringify(config), 'x.json'), config);

  const process = `  workingDirectory: /srv
  user: {uid: 33, gid: 33}
  rlimits: {nofile: 64, core: {soft: 0, hard: 10}}
  oomScoreAdjust: 500`;
  const user = parseFullConfig(GOOD.replace('  workingDirectory: /srv', process), 'full.yaml').process;
  assert.deepEqual(user.user, { uid: 33, gid: 33, groups: [] });
  assert.deepEqual(user.rlimits, { nofile: 64, core: { soft: 0, hard: 10 } });

  const bad = `mounts:
  - {kind: tmpfs, path: /a, source: /b}
  - {kind: bind, path: /c}
  - {kind: bind, path: /usr/bin/node, source: /b}
  - {kind: bind, path: /d, source: /d, scratch: true}
  - {kind: tmpfs, path: /e, scratch: true}
limits: {pids: 0}
security: {capabilities: [CAP_NET_RAW], systemCalls: ["a b"], firstId: 0, userNamespace: no}
`;
  const kinds = parseProblems(`${GOOD}${bad}`);
  const security = ['capabilities[0]', 'systemCalls[0]', 'firstId', 'userNamespace'].map((key) => `security.${key}`);
  assert.deepEqual(kinds, ['limits.pids', ...security]);
  const places = parseProblems(`${GOOD}${bad.slice(0, bad.indexOf('limits'))}`);
  assert.deepEqual(places, [
    ...['mounts[0].source', 'mounts[1].source', 'mounts[2].path', 'mounts[3].scratch', 'mounts[4].scratch'],
  ]);
});

/** The keys that are wrong, in the order of the text. */
function parseProblems(text: string): (string | undefined)[] {
  return problemsOf(text).map((line) => line.split(': ')[1]);
}
