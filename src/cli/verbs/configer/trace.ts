import { ComicranError } from '../../../base/errors.ts';
import { needRoot } from '../../root.ts';
import { readInput, resolveInput } from './base-input.ts';

type Options = { readonly time: number; readonly probe?: string; readonly write?: true; readonly json?: true };

export async function trace(file: string, options: Options): Promise<void> {
  needRoot('a trace needs root: it makes a sandbox');
  if (options.write === true && file === '-') {
    throw new ComicranError('usage', 'standard input cannot be written to', {
      hint: 'Name a file, or leave --write out.',
    });
  }
  const { traceRun } = await import('../../../configer/trace/trace.ts');
  const { additionsTo } = await import('../../../configer/trace/additions.ts');
  const { formatAdditions, patched } = await import('../../../configer/trace/patch.ts');
  const { writeFileWhole } = await import('../../../configer/text-file.ts');
  const input = await readInput(file);
  const { full } = await resolveInput(input);
  const stop = new AbortController();
  const onSignal = (): void => stop.abort();
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  const { uses, end } = await traceRun(full, {
    limitMs: options.time * 1000,
    ...(options.probe === undefined ? {} : { probe: options.probe }),
    signal: stop.signal,
  }).finally(() => process.off('SIGINT', onSignal).off('SIGTERM', onSignal));
  const additions = additionsTo(full, uses);
  const count = additions.executables.length + additions.files.length + additions.directories.length;
  const until = {
    ...{ exit: 'until it ended', limit: `for ${options.time} s` },
    ...{ probe: 'until the probe succeeded', stopped: 'until it was stopped' },
  }[end];
  process.stderr.write(`traced ${until}: ${uses.size} paths used, ${count} not in the sandbox\n`);
  for (const note of additions.notes) process.stderr.write(`note: ${note}\n`);
  if (options.write === true) {
    if (count > 0) writeFileWhole(file, patched(input.text, additions));
  } else
    process.stdout.write(
      options.json === true ? `${JSON.stringify(additions, null, 2)}\n` : formatAdditions(additions),
    );
}
