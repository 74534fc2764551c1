import { ComicranError } from '../base/errors.ts';
import type { Edit } from './tables.ts';

/** What a request comes to. No edits: nothing changes. */
export type Decision<Answer> = { readonly edits: readonly Edit[]; readonly answer: Answer };

export function unknownSandbox(sandbox: string): ComicranError {
  return new ComicranError('sandbox.unknown', `no sandbox '${sandbox}' is known to the sdn`, {
    hint: "'comicran smanager ps' lists the sandboxes.",
  });
}
