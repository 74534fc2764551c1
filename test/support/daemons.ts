/** The lab's daemons, killed and started again. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { runComicran } from '../../src/lab/demo/program.ts';
import { labLayout } from '../../src/lab/layout.ts';
import { client, find } from './lab.ts';

/** The server answers, at one place: every answer right, none twice. */
export async function assertAnswers(where: string, name = 'square'): Promise<void> {
  const found = await find(name);
  assert.equal(found?.vm, where);
  assert.equal(found.state, 'running');
  const { lost, duplicated, wrong, answered } = await client(found.service ?? '', 500, 1);
  assert.deepEqual({ lost, duplicated, wrong }, { lost: 0, duplicated: 0, wrong: 0 });
  assert.ok(answered > 300);
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

/** Starts a machine's daemon anew, with a fault in it; undefined: without. */
export async function restartDaemon(node: string, fault: string | undefined): Promise<void> {
  killDaemon(node);
  if (fault === undefined) delete process.env['COMICRAN_FAULT'];
  else process.env['COMICRAN_FAULT'] = fault;
  try {
    await runComicran(['lab', 'up']);
  } finally {
    delete process.env['COMICRAN_FAULT'];
  }
}
