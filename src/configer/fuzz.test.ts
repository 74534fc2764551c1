/** Both parsers and what follows them, with real configurations that have been damaged: a value or one ComicranError. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, test } from 'node:test';
import fc from 'fast-check';
import { buildElf } from '../../test/support/elf-builder.ts';
import { fileTree } from '../../test/support/file-tree.ts';
import { ComicranError } from '../base/errors.ts';
import { parseFullConfig } from '../base/full-config.ts';
import type { FullConfig } from '../base/sandbox-config.ts';
import { MAX_BYTES, parseBaseConfig } from './base-config.ts';
import { formatJson, formatYaml } from './format.ts';
import { emptyLdCache } from './ld-cache.ts';
import { parseNodeCommand } from './node/command-line.ts';
import { loadsOf } from './node/module-imports.ts';
import { parsePythonCommand } from './python/command-line.ts';
import { resolveConfig } from './resolve.ts';
import { patched } from './trace/patch.ts';

const home = join(import.meta.dirname, '../..');
const EXAMPLES = globSync('examples/**/*.yaml', { cwd: home })
  .toSorted()
  .map((file) => readFileSync(join(home, file), 'utf8'));

/** What tends to upset parsers of YAML and those who go on from there. */
const NASTY = [
  ...[
    '{',
    '}',
    '[',
    ']',
    ',',
    ':',
    ': ',
    '- ',
    '? ',
    '|',
    '>',
    '&a ',
    '*a',
    '!',
    '!!binary ',
    '%YAML 1.1\n',
    '---\n',
    '...\n',
  ],
  ...[
    '#',
    '"',
    "'",
    '\\',
    '\0',
    '\r',
    '\t',
    '\n',
    '\n\n  ',
    '\u2028',
    '\ud800',
    '\u{1f600}',
    '<<: *a',
    '~',
    'null',
    'true',
  ],
  ...['0755', '1e999', '-0', '.nan', '0x10', '9007199254740993', '../', '/..', '//', '/proc/1/root', '__proto__: {}'],
  ...['constructor: x', 'toString', 'x'.repeat(5000), '[['.repeat(200), '{a: '.repeat(200)],
];

type Edit = { readonly at: number; readonly remove: number; readonly insert: string };
const edit: fc.Arbitrary<Edit> = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  remove: fc.oneof(fc.constant(0), fc.nat(20), fc.nat(400)),
  insert: fc.oneof(fc.constantFrom(...NASTY), fc.string({ unit: 'binary', maxLength: 10 })),
});

/** A text with edits, and perhaps a piece of another one behind it. */
function damaged(texts: readonly string[]): fc.Arbitrary<string> {
  const one = fc.constantFrom(...texts);
  return fc
    .tuple(one, fc.array(edit, { maxLength: 6 }), one, fc.double({ min: 0, max: 1, noNaN: true }))
    .map(([text, edits, other, from]) => {
      let result = text;
      for (const { at, remove, insert } of edits) {
        const start = Math.floor(at * result.length);
        result = result.slice(0, start) + insert + result.slice(start + remove);
      }
      return from < 0.8 ? result : result + other.slice(Math.floor((from - 0.8) * 5 * other.length));
    });
}

function orComicranError<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (thrown) {
    assert.ok(thrown instanceof ComicranError, thrown instanceof Error ? thrown.stack : String(thrown));
    assert.ok(thrown.hint !== undefined && thrown.message.length < 100_000);
    return undefined;
  }
}

describe('damaged configurations', { timeout: 120_000 }, () => {
  let full: FullConfig;
  let texts: string[];
  before(async () => {
    using tree = fileTree({ server: buildElf({ static: true, type: 2 }), 'data/a': 'a', 'data/b': { link: 'a' } });
    const base = parseBaseConfig(
      'id: x\nprocess: {executable: {source: server, path: /server}}\nnetwork: {address: 10.88.0.5, ports: [{port: 1}]}\n' +
        'files: [{source: data, path: /data}]\nwritable: [/w]\nlimits: {pids: 5}\nsecurity: {capabilities: [CHOWN]}\n',
      'x',
    );
    full = await resolveConfig(base, {
      directory: tree.root,
      facts: {
        cache: emptyLdCache(),
        defaultDirectories: { 'x86-64': [], i386: [] },
        lib: { 'x86-64': 'lib', i386: 'lib' },
      },
      share: join(home, 'share'),
    });
    texts = [await formatYaml(full, 'x'), formatJson(full)];
  });

  test('a base configuration', () => {
    let accepted = 0;
    fc.assert(
      fc.property(damaged([...EXAMPLES, ...EXAMPLES.map(asJson)]), (text) => {
        if (orComicranError(() => parseBaseConfig(text, 'base.yaml')) !== undefined) accepted++;
      }),
      { numRuns: 300 },
    );
    assert.ok(accepted > 0, 'the damage is not always too much');
  });

  test('a full configuration, and what is accepted can be written and read again', async () => {
    await fc.assert(
      fc.asyncProperty(damaged(texts), async (text) => {
        const config = orComicranError(() => parseFullConfig(text, 'full.yaml'));
        if (config === undefined) return;
        assert.deepEqual(parseFullConfig(formatJson(config), 'x'), config);
        assert.deepEqual(parseFullConfig(await formatYaml(config, 'x'), 'x'), config);
      }),
      { numRuns: 150 },
    );
  });

  test('what a trace adds is added, and all else reads as before', () => {
    const path = fc.stringMatching(/^\/[a-z#:, '"{}*&!-]{1,12}$/).filter((text) => text.trim() === text);
    fc.assert(
      fc.property(
        damaged([...EXAMPLES, ...EXAMPLES.map(asJson)]),
        fc.record({ executables: fc.array(path), files: fc.array(path), directories: fc.array(path) }),
        (text, lists) => {
          const before = orComicranError(() => parseBaseConfig(text, 'x'));
          if (before === undefined) return;
          const after = parseBaseConfig(patched(text, { ...lists, notes: [] }), 'x');
          assert.deepEqual(after, {
            ...before,
            executables: [...before.executables, ...lists.executables.map((source) => ({ source }))],
            files: [...before.files, ...lists.files.map((source) => ({ source }))],
            directories: [...before.directories, ...lists.directories.map((one) => ({ path: one, mode: 0o755 }))],
          });
        },
      ),
      { numRuns: 100 },
    );
  });

  test('texts that do nothing but blow up', () => {
    const fill = (piece: string, bytes = MAX_BYTES / 16): string =>
      piece.repeat(Math.floor((bytes - 100) / piece.length));
    const lines = (line: (index: number) => string): string =>
      Array.from({ length: 6_000 }, (_, index) => line(index))
        .join('\n')
        .slice(0, MAX_BYTES);
    for (const text of [
      ...['[', '{a: ', '- ', '? ', '[{', '&a ', '*a ', '!', '%A\n', '---\n', '"\\x41', "''", ': ', '\t', '# \n'].map(
        (one) => fill(one),
      ),
      `a: &a x\nb: [${fill('*a,', MAX_BYTES)}]`,
      `a: [${fill('a,', MAX_BYTES / 4)}]`,
      lines((index) => `k${index}: 1`),
      lines((index) => `k${index}: &a${index} [*a${index - 1},*a${index - 1}]`),
      `id: ${fill('x', MAX_BYTES)}`,
      `files: [${fill('/a,')}]`,
    ])
      orComicranError(() => parseBaseConfig(text, 'bomb.yaml'));
  });
});

test('command lines and modules of any kind have an answer', () => {
  const word = fc.oneof(
    fc.constantFrom('-', '--', '-c', '-m', '-r', '--import', '-e', '-W', '-X', '-Im', 'x.js', ''),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(word), (words) => {
      parseNodeCommand(words, words.join(' '));
      parsePythonCommand(words);
    }),
  );
  const source = readFileSync(join(import.meta.dirname, 'declared.ts'), 'utf8');
  fc.assert(
    fc.property(damaged([source]), fc.boolean(), (text, typed) => void loadsOf(text, typed)),
    { numRuns: 60 },
  );
});

test('the same files give the same bytes, in whatever order they were made and are named', async () => {
  const name = fc.stringMatching(/^[a-z]{1,3}(\/[a-z]{1,2})?$/);
  const files = fc.dictionary(name, fc.string({ maxLength: 20 }), { minKeys: 1, maxKeys: 8 });
  using tree = fileTree({ server: buildElf({ static: true, type: 2 }) });
  let run = 0;
  await fc.assert(
    fc.asyncProperty(files, async (contents) => {
      const names = Object.keys(contents).filter(
        (one) => !Object.hasOwn(contents, one.split('/')[0]!) || !one.includes('/'),
      );
      const home_ = `run${run++}`;
      const texts: string[] = [];
      for (const order of [names, names.toReversed()]) {
        tree.remove(home_);
        tree.add(Object.fromEntries(order.map((one) => [`${home_}/${one}`, contents[one]!])));
        const list = order.map((one) => `{source: ${home_}/${one}, path: /srv/${one}}`).join(', ');
        const base = parseBaseConfig(
          `{id: x, process: {executable: {source: server, path: /bin/server}}, network: {address: 10.0.0.1}, etc: none, files: [${list}]}`,
          'x',
        );
        const full = await resolveConfig(base, {
          directory: tree.root,
          facts: {
            cache: emptyLdCache(),
            defaultDirectories: { 'x86-64': [], i386: [] },
            lib: { 'x86-64': 'lib', i386: 'lib' },
          },
          share: join(home, 'share'),
        });
        texts.push(await formatYaml(full, 'x'), formatJson(full));
      }
      assert.deepEqual(texts.slice(2), texts.slice(0, 2));
    }),
    { numRuns: 25 },
  );
});

function asJson(yaml: string): string {
  const { id, process, network } = parseBaseConfig(yaml, 'x');
  return JSON.stringify({ id, process: { ...process, executable: '/a' }, network }, null, 1);
}
