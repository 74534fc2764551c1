import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nearest, suggestion } from './suggest.ts';

test('a slip of the finger is recognised, another word is not', () => {
  const commands = ['ps', 'vms', 'services', 'start', 'terminate', 'migrate', 'abort', 'logs', 'inspect'];
  const cases: readonly (readonly [string, string | undefined])[] = [
    ...([
      ['migrat', 'migrate'],
      ['imgrate', 'migrate'],
      ['Start', 'start'],
      ['sp', 'ps'],
      ['vm', 'vms'],
    ] as const),
    ...([
      ['insp', 'inspect'],
      ['terminat', 'terminate'],
      ['nonsense', undefined],
      ['x', undefined],
    ] as const),
  ];
  assert.equal(nearest('vm3', ['vm1', 'vm2']), undefined, 'two are as near');
  for (const [word, meant] of cases) assert.equal(nearest(word, commands), meant, word);
});

test('what exists is always listed', () => {
  assert.equal(
    suggestion('sqare', ['dnsmasq', 'square'], 'Known are'),
    "Did you mean 'square'? Known are: dnsmasq, square.",
  );
  assert.equal(suggestion('x', [], 'Known are'), 'Known are: none.');
});
