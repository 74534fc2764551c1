import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { readAnyYaml } from './config-text.ts';
import { readPlainYaml } from './plain-yaml.ts';

const NAMED = { fileName: 'x.yaml', what: 'YAML' };

const EXAMPLE = `# Written by comicran configer from square.yaml.

version: 1
id: square
process:
  executable: /usr/bin/node
  arguments:
    - --port
    - "5006"
    - -c
    - echo "a" 'b' [c] {d}; read line
    - 'it''s'
    - "tab\\there"
  environment: {UV_THREADPOOL_SIZE: "1", LANG: C.UTF-8}
  workingDirectory: /
network:
  address: 10.88.0.5
  ports:
    - {port: 5006, protocol: udp}
# between
files:
  - path: /etc/group
    size: -27
    mode: "0644"
    nested:
      deep: true
      also:
          - 0755
          - 1.10
          - 1e3
    why: "configuration: etc"
symlinks: []
empty: {}
`;

describe('plain YAML', () => {
  test('what configer writes, and what is written like it, is known', () => {
    const known = readPlainYaml(EXAMPLE);
    assert.deepEqual(known?.value, readAnyYaml(EXAMPLE, NAMED));
    assert.ok(JSON.stringify(known?.value).includes('"also":["0755","1.10","1e3"]'));
  });

  const LEFT_TO_THE_OTHER: Readonly<Record<string, string>> = {
    'nothing at all': '',
    'no mapping': 'text\n',
    'a key twice': 'a: 1\na: 2\n',
    'a key that objects have': '__proto__: 1\n',
    'no value': 'a:\n',
    null: 'a: null\n',
    'true in another way': 'a: True\n',
    'a value that goes on in the next line': 'a: b\n  c\n',
    'a remark behind a value': 'a: b # c\n',
    'a text of several lines': 'a: |\n  b\n',
    'an anchor': 'a: &b c\n',
    'an alias': 'a: *b\n',
    'a tag': 'a: !!str 1\n',
    'two documents': 'a: b\n---\nc: d\n',
    'a mapping in a value': 'a: b: c\n',
    'a list that is not indented': 'a:\n- b\n',
    'a list in a list': 'a:\n  - - b\n',
    'indented in two ways': 'a:\n    b: 1\n  c: 2\n',
    'flow in flow': 'a: [[b], {c: d}]\n',
    tabs: 'a:\tb\n',
    'ends of line of another kind': 'a: b\r\n',
    'what is not ASCII': 'a: ä\n',
    'too deep': Array.from({ length: 40 }, (_, depth) => `${' '.repeat(depth)}a:\n`).join(''),
    'a long line': `a: ${'b'.repeat(5000)}\n`,
  };
  for (const [what, text] of Object.entries(LEFT_TO_THE_OTHER)) {
    test(`left to the parser of all YAML: ${what}`, () => assert.equal(readPlainYaml(text), undefined));
  }

  const value = fc.letrec((tie) => ({
    any: fc.oneof({ maxDepth: 4 }, tie('text'), tie('list'), tie('mapping')),
    text: fc.oneof(fc.string(), fc.string({ unit: 'grapheme' }), fc.integer(), fc.boolean(), fc.constant(null)),
    list: fc.array(tie('any'), { maxLength: 4 }),
    mapping: fc.dictionary(fc.oneof(fc.stringMatching(/^[a-z_.]{1,6}$/), fc.string({ minLength: 1 })), tie('any')),
  }));

  /** It may leave a text to the other parser, and then says so; it never reads another value. */
  function agrees(text: string): boolean {
    const plain = readPlainYaml(text);
    if (plain === undefined) return false;
    assert.deepEqual(plain.value, readAnyYaml(text, NAMED));
    return true;
  }

  test('any value, however it is written: read as by the parser of all YAML, or left to it', () => {
    fc.assert(
      fc.property(value.mapping, fc.constantFrom(0, 80), fc.boolean(), (content, lineWidth, padded) => {
        agrees(stringify(content, { lineWidth, flowCollectionPadding: padded }));
      }),
      { numRuns: 300 },
    );
  });

  const PIECES = [
    ...[
      '{',
      '}',
      '[',
      ']',
      ',',
      ', ',
      ':',
      ': ',
      '- ',
      '-',
      '? ',
      '|',
      '>',
      '&a ',
      '*a',
      '!',
      '%',
      '@',
      '`',
      '---\n',
      '...\n',
    ],
    ...[
      '#',
      ' #',
      '"',
      "'",
      "''",
      '\\',
      '\\n',
      '\\u0041',
      '\t',
      '\r',
      '\n',
      '\n  ',
      '\n    ',
      ' ',
      '  ',
      '~',
      'null',
      'true',
    ],
    ...[
      'True',
      '0755',
      '-0',
      '.nan',
      '0x10',
      '=',
      '<<: ',
      'a: b\n',
      '- a\n',
      '  - a: b\n',
      '{a: b}',
      '[a, "b"]',
      '"a" ',
      'é',
    ],
  ];
  const edit = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    remove: fc.oneof(fc.constant(0), fc.nat(3), fc.nat(40)),
    insert: fc.oneof(fc.constant(''), fc.constantFrom(...PIECES), fc.string({ maxLength: 4 })),
  });

  test('any text that is nearly plain YAML: the same', () => {
    let known = 0;
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
        let text = EXAMPLE;
        for (const { at, remove, insert } of edits) {
          const start = Math.floor(at * text.length);
          text = text.slice(0, start) + insert + text.slice(start + remove);
        }
        if (agrees(text)) known++;
      }),
      { numRuns: 1000 },
    );
    assert.ok(known > 0, 'the damage is not always too much');
  });
});
