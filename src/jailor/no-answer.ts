/** Why nobody answers at a sandbox's control socket, as far as its state file tells, and what to do. */
import { ComicranError } from '../base/errors.ts';
import { suggestion } from '../base/suggest.ts';
import { isAlive } from '../linux/process-identity.ts';
import { listSandboxes } from './clean.ts';
import { DEFAULT_STATE_DIRECTORY } from './naming.ts';
import { findSandboxState } from './state-schema.ts';

/** @returns sandbox.unknown where there is no sandbox of this name, sandbox.not-running otherwise. */
export function noAnswer(stateDirectory: string, id: string, cause?: unknown): ComicranError {
  const state = findSandboxState(stateDirectory, id);
  const where = stateDirectory === DEFAULT_STATE_DIRECTORY ? '' : ` --state ${stateDirectory}`;
  if (state === undefined) {
    const known = listSandboxes(stateDirectory).map((each) => each.id);
    return new ComicranError('sandbox.unknown', `there is no sandbox '${id}' in ${stateDirectory}`, {
      hint: `${suggestion(id, known, 'Known are')} Those of another state directory are found with --state.`,
    });
  }
  if (state.phase === 'exited') {
    return new ComicranError('sandbox.not-running', `the sandbox '${id}' has ended`, {
      hint: `'comicran jailor list${where}' says how, 'comicran jailor remove ${id}${where}' takes away what is left.`,
    });
  }
  if (isAlive(state.jailor) && state.stdio === null && state.phase !== 'starting') {
    return new ComicranError('sandbox.not-running', `the sandbox '${id}' runs in the foreground of its jailor`, {
      hint: `It is ended there (Ctrl-C), or with 'kill ${state.jailor.pid}'.`,
    });
  }
  return new ComicranError('sandbox.not-running', `no jailor answers for sandbox '${id}'`, {
    hint: `'comicran jailor clean${where}' removes what one that was killed may have left.`,
    cause,
  });
}
