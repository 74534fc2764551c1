/** An engine in a process of its own that is killed where it was told to go. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { NODE, program } from './cage.ts';

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Lets an engine of its own go to a place, and kills it there. @returns what it printed. */
export async function killEngineAt(what: string, ...words: readonly (number | string)[]): Promise<string> {
  const engine = spawn(
    NODE,
    ['--disable-warning=ExperimentalWarning', program('engine.ts'), what, ...words.map(String)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const over = once(engine, 'exit');
  const [line] = (await Promise.race([once(engine.stdout, 'data'), over])) as [unknown];
  await pause(30);
  engine.kill('SIGKILL');
  await over;
  return String(line).trim();
}
