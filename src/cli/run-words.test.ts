import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Command } from 'commander';
import fc from 'fast-check';
import { type RunFlags, readRunWords } from './run-words.ts';
import { register } from './verbs/jailor.ts';

/** What the parser of all command lines makes of the words; undefined: it refuses them. */
function parsed(words: readonly string[]): { file: string; flags: RunFlags } | undefined {
  let result: { file: string; flags: RunFlags } | undefined;
  const jailor = new Command('jailor').exitOverride().configureOutput({ writeErr: () => undefined });
  register(jailor);
  const run = jailor.commands.find((command) => command.name() === 'run')!;
  run.exitOverride().configureOutput({ writeErr: () => undefined, writeOut: () => undefined });
  run.action((file: string, flags: RunFlags) => {
    result = { file, flags: { ...flags } };
  });
  try {
    jailor.parse(['run', ...words], { from: 'user' });
  } catch {
    return undefined;
  }
  return result;
}

const OPTIONS = ['--background', '--skeleton', '--created', '--dry-run', '--json', '--state', '--outcome-fd'];
const word = fc.constantFrom(
  ...[...OPTIONS, '--hatchery-pid', '--restarts', '-', '--', 'full.yaml', '/state', '3', '2', '1', '0', '-1', '1.5'],
  ...['', '--help', '--no-such', '--state=/x', '007'],
);

describe('the words of jailor run, read without a parser', () => {
  it('mean what the parser makes of them, or are left to it', () => {
    fc.assert(
      fc.property(fc.array(word, { maxLength: 8 }), (words) => {
        const quick = readRunWords(words);
        if (quick !== undefined) assert.deepEqual(parsed(words), quick);
      }),
      { numRuns: 300 },
    );
  });

  it('are understood as a daemon and a person give them', () => {
    const lines = [
      'full.yaml',
      'full.yaml --state /state',
      '- --background --outcome-fd 3 --state /state',
      '- --background --outcome-fd 3 --state /state --skeleton --hatchery-pid 32000 --restarts 2',
      '- --background --outcome-fd 3 --state /state --created',
    ];
    for (const line of lines) {
      const quick = readRunWords(line.split(' '));
      assert.ok(quick !== undefined, line);
      assert.deepEqual(parsed(line.split(' ')), quick, line);
    }
  });
});
