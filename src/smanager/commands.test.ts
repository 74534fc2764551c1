/** What an operator is told who has typed something that is not there. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from 'commander';
import { ComicranError } from '../base/errors.ts';
import { explainMistakes } from '../base/usage-help.ts';
import { addCommands } from './commands.ts';
import type { Fleet } from './fleet.ts';

async function run(...words: string[]) {
  const [printed, errors]: [string[], string[]] = [[], []];
  const addTo = (texts: string[]) => (text: string) => void texts.push(text);
  const locations = [{ sandbox: 'square', vm: 'vm1' }];
  const fleet = {
    vmNames: () => ['vm1'],
    look: { timeoutMs: 1000 },
    endpointOf: () => '10.0.0.1:1',
    sdn: () => ({ locate: async () => ({}), listLocations: async () => ({ locations }) }),
    vm: () => ({ list: async () => ({ sandboxes: [] }) }),
  } as unknown as Fleet;
  const program = new Command('smanager').exitOverride().configureOutput({ writeErr: addTo(errors) });
  addCommands(program, {
    fleet: async () => fleet,
    print: addTo(printed),
    progress: () => undefined,
    progressColumns: () => undefined,
    nowUnixMs: () => 0,
    interrupted: () => new AbortController().signal,
  });
  explainMistakes(program, 'comicran smanager');
  const thrown = await program.parseAsync(words, { from: 'user' }).then(
    () => undefined,
    (error: unknown) => error,
  );
  return { printed: printed.join(''), errors: errors.join(''), thrown };
}

test('a sandbox that does not exist: what was meant, and those that there are; with --json as an object too', async () => {
  for (const words of [
    ['terminate', 'sqare'],
    ['logs', 'sqare'],
    ['migrate', 'sqare', 'vm1'],
    ['abort', 'sqare'],
  ]) {
    const { thrown, printed } = await run(...words);
    assert.ok(thrown instanceof ComicranError && thrown.code === 'sandbox.unknown', words.join(' '));
    assert.match(thrown.hint ?? '', /Did you mean 'square'\? Known are: square\./);
    assert.equal(printed, '');
  }
  for (const words of [
    ['terminate', 'sqare'],
    ['logs', 'sqare'],
    ['inspect', 'sqare'],
  ]) {
    const { printed } = await run(...words, ...(words[0] === 'inspect' ? [] : ['--json']));
    const { name, failed } = JSON.parse(printed);
    assert.deepEqual([name, failed.code], ['sqare', 'sandbox.unknown']);
  }
});

test('a mistyped option: what the command takes', async () => {
  const { errors } = await run('migrate', 'square', 'vm2', '--dryrun');
  assert.match(errors, /^comicran: unknown option '--dryrun'\n\(Did you mean --dry-run\?\)\n {2}next: /);
  assert.match(errors, /comicran smanager migrate \[options\] <name> \[vm\]\n.*--fallback.*--help' explains\.\n$/);
});

test('a mode that does not exist fails before a daemon is asked, with --json as an object', async () => {
  const { printed } = await run('migrate', 'square', 'vm2', '--mode', 'magic', '--json');
  const { name, failed } = JSON.parse(printed);
  assert.deepEqual([name, failed.code, failed.message], ['square', 'usage', "there is no mode 'magic'"]);
  assert.match(failed.hint, /replicated, postcopy, precopy, stopcopy/);
});
