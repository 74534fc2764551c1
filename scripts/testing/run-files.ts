/** Runs files of tests, each in a process of its own. */
import { join } from 'node:path';
import { run } from 'node:test';
import reporter from '../reporter.ts';
import type { Counts } from './lanes.ts';

const ROOT = join(import.meta.dirname, '../..');
/** Of a file. */
const LONGEST_MS = 600_000;

export type RunFiles = {
  readonly concurrency: number;
  readonly environment: NodeJS.ProcessEnv;
  /** Given each piece of what is to be printed, as it comes. */
  readonly say: (text: string) => void;
};

/** @param files from the project's directory on. */
export async function runFiles(files: readonly string[], { concurrency, environment, say }: RunFiles): Promise<Counts> {
  let counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  if (files.length === 0) return counts;
  // Node's types do not have `env` yet.
  const options = { files: files.map((file) => join(ROOT, file)), concurrency, timeout: LONGEST_MS, env: environment };
  for await (const text of reporter(run(options))) {
    const end = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\n$/.exec(text);
    if (end === null) say(text);
    else counts = { passed: Number(end[1]), failed: Number(end[2]), skipped: Number(end[3] ?? 0) };
  }
  return counts;
}
