import type { Jail } from '../sandboxes/jailors.ts';
import type { InheritedPipe } from './job.ts';

/** Pipes that lead to jailor; others of the process lead nowhere outside of it. */
export function inheritedPipes(jail: Jail): InheritedPipe[] {
  const { stdio } = jail.state();
  if (stdio === null) return [];
  return [
    { name: 'stdout', inode: stdio.stdout },
    { name: 'stderr', inode: stdio.stderr },
  ];
}
