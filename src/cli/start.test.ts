import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

const COMICRAN = join(import.meta.dirname, '../../bin/comicran');
/** Loaded before the program, which does not begin. */
const TELL_OPTIONS = 'data:text/javascript,process.stdout.write(process.execArgv.join(" "));process.exit()';

const optionsOf = (verb: string): string =>
  execFileSync(COMICRAN, [verb], { env: { ...process.env, NODE_OPTIONS: `--import=${TELL_OPTIONS}` } }).toString();

test('the heap of a daemon, whose threads are real-time threads at times, needs no thread of the background', () => {
  for (const daemon of ['sdn', 'sdaemon']) assert.match(optionsOf(daemon), /--single-threaded-gc/, daemon);
});

test('other programs collect with all CPUs', () => {
  for (const verb of ['client', 'server', 'smanager']) assert.doesNotMatch(optionsOf(verb), /single-threaded/, verb);
});
