/** The lab's daemons, killed and started again. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { runComicran } from '../../src/lab/demo/program.ts';
import { labLayout } from '../../src/lab/layout.ts';
import { hasThreads, type ProcessIdentity } from '../../src/linux/process-identity.ts';
import { client, find } from './lab.ts';

const RATE = 1000;
const SECONDS = 0.4;
/** A second answer comes by another machine, and not later than the first one by more than that. */
const GRACE_SECONDS = 0.2;

/** The server answers, at one place: every answer right, none twice. */
export async function assertAnswers(where: string, name = 'square'): Promise<void> {
  const found = await find(name);
  assert.equal(found?.vm, where);
  assert.equal(found.state, 'running');
  const report = await client(found.service ?? '', RATE, SECONDS, GRACE_SECONDS);
  const { lost, duplicated, wrong, answered } = report;
  assert.deepEqual({ lost, duplicated, wrong }, { lost: 0, duplicated: 0, wrong: 0 });
  assert.ok(answered > 300, `${answered} answers`);
}

type LabRecord = { readonly daemons: Readonly<Record<string, ProcessIdentity>> };

function daemonOf(node: string): ProcessIdentity {
  const record = JSON.parse(readFileSync(labLayout().recordFile, 'utf8')) as LabRecord;
  return record.daemons[node]!;
}

export const daemonPid = (node: string): number => daemonOf(node).pid;

/** Whether a machine's daemon is there, be it with one thread that is about to end; false: a fault has killed it. */
export const daemonLives = (node: string): boolean => hasThreads(daemonOf(node));

/** Returns when it is gone, with its sockets: what is asked of its machine from then on finds nobody. */
export function killDaemon(node: string): void {
  const daemon = daemonOf(node);
  const deadline = performance.now() + 30_000;
  if (hasThreads(daemon)) process.kill(daemon.pid, 'SIGKILL');
  while (hasThreads(daemon)) {
    assert.ok(performance.now() < deadline, `the daemon of ${node} does not end`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
  }
}

/** Kills a machine's daemon and starts it anew. */
export async function restartDaemon(node: string): Promise<void> {
  killDaemon(node);
  await runComicran(['lab', 'up']);
}
