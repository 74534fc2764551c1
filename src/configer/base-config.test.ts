import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ComicranError } from '../base/errors.ts';
import { parseBaseConfig } from './base-config.ts';

const LEAST = 'id: square\nprocess: {executable: /usr/bin/node}\nnetwork: {address: 10.88.0.5}\n';

function problemsOf(text: string): string[] {
  try {
    parseBaseConfig(text, 'base.yaml');
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

test('the least that is needed, and what stands in for the rest', () => {
  assert.deepEqual(parseBaseConfig(LEAST, 'x'), {
    id: 'square',
    process: { executable: { source: '/usr/bin/node' }, arguments: [], environment: {}, workingDirectory: '/' },
    network: { address: '10.88.0.5', ports: [] },
    executables: [],
    files: [],
    directories: [],
    symlinks: [],
    writable: [],
    etc: 'minimal',
  });
});

test('a file is a path, or says where it comes from and where it goes', () => {
  const { files } = parseBaseConfig(
    `${LEAST}files: [/etc/services, {source: ../x, path: /srv/x}, {source: y, path: /y, mode: 0600}, {source: /z}]`,
    'x',
  );
  assert.deepEqual(files, [
    { source: '/etc/services' },
    { source: '../x', path: '/srv/x' },
    { source: 'y', path: '/y', mode: 0o600 },
    { source: '/z' },
  ]);
});

test('arguments and environment are the text that was written, with and without quotes', () => {
  const text = `${LEAST.replace('{executable: /usr/bin/node}', '')}`;
  const { process } = parseBaseConfig(
    text.replace(
      'process: ',
      `process:
  executable: /a
  arguments: [--port, 5006, "5006", 0755, 1.10, 1e3, 0x1F, -0, +1, 12345678901234567890, .5, 0o17, "true", .inf]
  environment: {UV_THREADPOOL_SIZE: 1, VERSION: 1.10, EMPTY: "", "a.b": c}
`,
    ),
    'x',
  );
  const written = '--port 5006 5006 0755 1.10 1e3 0x1F -0 +1 12345678901234567890 .5 0o17 true .inf';
  assert.deepEqual(process.arguments, written.split(' '));
  assert.deepEqual(process.environment, { UV_THREADPOOL_SIZE: '1', VERSION: '1.10', EMPTY: '', 'a.b': 'c' });
});

const REFUSED: readonly [string, string, RegExp][] = [
  [
    'a flag as an argument',
    'process: {executable: /a, arguments: [true]}',
    /:1:39: process\.arguments\[0\]: true: text \(true, false and null in quotes\)/,
  ],
  ['a relative file without a path', 'files: [x]', /files\[0\]: "x": an absolute path .*, or where it comes from/],
  [
    'a relative source without a path',
    'files: [{source: ../x}]',
    /files\[0\]\.path: missing: an absolute path in the sandbox, because the source is not one/,
  ],
  [
    'a path that climbs',
    'files: [{source: x, path: /a/../b}]',
    /files\[0\]\.path: "\/a\/\.\.\/b": an absolute path without/,
  ],
  [
    'a mode in decimal',
    'files: [{source: /x, mode: 755}]',
    /files\[0\]\.mode: 755: permission bits in octal, such as '0755'/,
  ],
  [
    'a link that climbs out',
    'symlinks: [{path: /a/b, target: ../../etc}]',
    /symlinks\[0\]\.target: \.\.\/\.\.\/etc: a target that does not climb above the root/,
  ],
  [
    'a protocol that is none',
    'network: {address: 10.0.0.1, ports: [{port: 1, protocol: sctp}]}',
    /ports\[0\]\.protocol: "sctp": udp or tcp/,
  ],
  ['loopback as an address', 'network: {address: 127.0.0.1}', /network\.address: "127\.0\.0\.1"/],
  [
    'a variable with =',
    'process: {executable: /a, environment: {"a=b": c}}',
    /environment\.a=b: "a=b": a name of an environment variable/,
  ],
  ['an unknown key in a list', 'files: [{src: /x}]', /files\[0\]\.src: unknown key: one of source, path, mode/],
  ['a list of etc', 'etc: [passwd]', /etc: a list: minimal or none/],
  ['nothing at a list', 'files:', /files: empty: a list/],
];
for (const [name, line, expected] of REFUSED) {
  test(`refused: ${name}`, () => {
    const key = line.slice(0, line.indexOf(':'));
    const rest = LEAST.split('\n').filter((other) => !other.startsWith(`${key}:`));
    const problems = problemsOf([line, ...rest].join('\n'));
    assert.match(problems.join('\n'), expected);
    assert.match(problems[0]!, /^base\.yaml:1:\d+: /);
  });
}

test('links that stay inside may climb', () => {
  const text = `${LEAST}symlinks: [{path: /a/b, target: ../c}, {path: /x, target: /y/../z}, {path: /a/c/d, target: ../../e}]`;
  assert.deepEqual(problemsOf(text), []);
});

test('any text is a configuration or one ComicranError', () => {
  const line = fc.constantFrom(
    ...LEAST.split('\n'),
    ...REFUSED.map(([, text]) => text),
    'files: [',
    '&a',
    '- *a',
    '? x',
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 8 }), (lines) => void problemsOf(lines.join('\n'))),
    { numRuns: 500 },
  );
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 100 }), (text) => void problemsOf(LEAST + text)));
});
