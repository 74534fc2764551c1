import type { WriteStream } from 'node:tty';
import { formatBytes } from '../base/units.ts';
import type { Progress } from './resolve.ts';

/** Nothing is said about what is done sooner. */
const QUIET_MS = 400;
const STEP_MS = 100;

/** A line on a terminal that says what is being read, once it takes long; nothing where it is not a terminal. */
export function terminalProgress(
  stream: Pick<WriteStream, 'isTTY' | 'write'>,
  clock: () => number = () => performance.now(),
): { report: (progress: Progress) => void; end: () => void } {
  const start = clock();
  let shown: number | undefined;
  return {
    report({ file, doneBytes, totalBytes }) {
      const now = clock();
      if (!stream.isTTY || now - start < QUIET_MS || (shown !== undefined && now - shown < STEP_MS)) return;
      shown = now;
      stream.write(`\r\x1b[Khashing ${formatBytes(doneBytes)} of ${formatBytes(totalBytes)}: ${file}`);
    },
    end() {
      if (shown !== undefined) stream.write('\r\x1b[K');
    },
  };
}
