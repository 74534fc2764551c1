/** The lab's daemons, killed and started again. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { runComicran } from '../../src/lab/demo/program.ts';
import { labLayout } from '../../src/lab/layout.ts';
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

type LabRecord = { readonly daemons: Readonly<Record<string, { readonly pid: number }>> };

export function daemonPid(node: string): number {
  const record = JSON.parse(readFileSync(labLayout().recordFile, 'utf8')) as LabRecord;
  return record.daemons[node]!.pid;
}

/** Whether a machine's daemon runs; false: a fault has killed it. */
export function daemonLives(node: string): boolean {
  try {
    return !readFileSync(`/proc/${daemonPid(node)}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

export function killDaemon(node: string): void {
  try {
    process.kill(daemonPid(node), 'SIGKILL');
  } catch (thrown) {
    // A fault has killed it already.
    if (!(thrown instanceof Error && 'code' in thrown && thrown.code === 'ESRCH')) throw thrown;
  }
}

/** Kills a machine's daemon and starts it anew. */
export async function restartDaemon(node: string): Promise<void> {
  killDaemon(node);
  await runComicran(['lab', 'up']);
}
