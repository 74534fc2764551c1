import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from 'commander';
import { addCommands } from './commands.ts';
import { completions, type Known } from './completion.ts';

const program = new Command();
addCommands(program, {
  fleet: () => Promise.reject(new Error('not asked')),
  print: () => undefined,
  progress: () => undefined,
  progressColumns: () => undefined,
  nowUnixMs: () => 0,
  interrupted: () => new AbortController().signal,
});
const KNOWN: Known = {
  commands: program.commands.map((command) => command.name()),
  sandboxes: ['clock', 'square'],
  machines: ['vm1', 'vm2'],
  files: (beginning) => ['square.full.yaml', 'src/'].filter((name) => name.startsWith(beginning)),
  command: (name) => program.commands.find((command) => command.name() === name),
};
const fitting = (line: string): string[] => completions(line, KNOWN)[0];

test('the first word completes to commands, a single one with the space behind it', () => {
  assert.deepEqual(completions('migr', KNOWN), [['migrate', 'migrations'], 'migr']);
  assert.deepEqual(completions('migrate', KNOWN), [['migrate '], 'migrate']);
  assert.deepEqual(fitting('  vm'), ['vms ']);
  assert.deepEqual(fitting('help inspe'), ['inspect ']);
});

test('each place completes to what the command takes there', () => {
  assert.deepEqual(fitting('migrate '), ['clock', 'square']);
  assert.deepEqual(fitting('migrate s'), ['square ']);
  assert.deepEqual(fitting('migrate square '), ['vm1', 'vm2']);
  assert.deepEqual(fitting('migrate --mode postcopy square '), ['vm1', 'vm2']);
  assert.deepEqual(fitting('migrate square vm2 '), []);
  assert.deepEqual(fitting('ps '), []);
  assert.deepEqual(fitting('set-service 6000 '), ['clock', 'square']);
  assert.deepEqual(fitting('nonsense '), []);
});

test('files are completed where one is to be named; directories without the space', () => {
  assert.deepEqual(fitting('start s'), ['square.full.yaml', 'src/']);
  assert.deepEqual(fitting('start squ'), ['square.full.yaml ']);
  assert.deepEqual(fitting('start sr'), ['src/']);
});

test('options and their known values complete, too', () => {
  assert.deepEqual(fitting('migrate square vm2 --mo'), ['--mode ']);
  assert.deepEqual(fitting('migrate square vm2 --mode p'), ['postcopy', 'precopy']);
  assert.deepEqual(fitting('migrate square vm2 --fallback n'), ['none ']);
  assert.deepEqual(fitting('migrate square vm2 --snapshot f'), ['fork ']);
  assert.deepEqual(fitting('start square.full.yaml --on '), ['vm1', 'vm2']);
  assert.deepEqual(fitting('migrate square vm2 --deadline '), []);
});
