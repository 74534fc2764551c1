import { ComicranError, failureJson } from '../base/errors.ts';
import type { CommandContext } from './command-context.ts';

/** Carries out a command; with --json its failure is an object on standard output too, before it is reported as every other. */
export async function telling(
  { print }: Pick<CommandContext, 'print'>,
  { json, ...more }: { readonly json: boolean | undefined; readonly name?: string },
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (thrown) {
    if (json === true && thrown instanceof ComicranError) print(failureJson(thrown, more));
    throw thrown;
  }
}
