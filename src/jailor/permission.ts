/** What may be done with a sandbox in its state, or why not. Pure but for the clock that is given. */
import { ComicranError } from '../base/errors.ts';
import type { SandboxState } from './state.ts';

/** @param what `moved`, `frozen`… */
export function notRunning({ id, phase }: Pick<SandboxState, 'id' | 'phase'>, what: string): ComicranError {
  return new ComicranError('sandbox.not-running', `the sandbox ${id} is ${phase} and cannot be ${what}`);
}

/** @throws ComicranError migration.busy */
export function checkNotMoving({ id, moving }: SandboxState): void {
  if (!moving) return;
  throw new ComicranError('migration.busy', `the sandbox ${id} is in a migration`, { hint: 'Wait for its end.' });
}

/** @throws ComicranError migration.refused, by what it is: frozen, restarting, with guests; sandbox.not-running */
export function checkMovable(state: SandboxState, nowMs: number): void {
  const { id, phase, frozen, guests, restarts } = state;
  const refused = (why: string, hint: string): ComicranError =>
    new ComicranError('migration.refused', `the sandbox ${id} ${why}`, { hint });
  if (frozen) throw refused('is frozen', `Let it run first: 'comicran smanager thaw ${id}'.`);
  if (phase === 'restarting') {
    const seconds = Math.ceil(Math.max(0, (restarts.nextAtMs ?? 0) - nowMs) / 1000);
    const why = `has no process now: it is started again in ${seconds} s (restart ${restarts.count + 1})`;
    throw refused(why, 'Try again when it runs.');
  }
  if (phase !== 'running') throw notRunning(state, 'moved');
  if (guests > 0) {
    const programs = guests === 1 ? 'a program' : `${guests} programs`;
    throw refused(`has ${programs} in it that an operator has started (exec)`, 'They do not move: end them first.');
  }
}

/** Whether a program may be started in it beside its own. @throws ComicranError sandbox.not-running, migration.busy */
export function checkHospitable(state: SandboxState): void {
  if (state.phase !== 'running') throw notRunning(state, 'looked into');
  checkNotMoving(state);
  if (!state.frozen) return;
  throw new ComicranError('sandbox.not-running', `the sandbox ${state.id} is frozen: nothing runs in it`, {
    hint: `Let it run first: 'comicran smanager thaw ${state.id}'.`,
  });
}
