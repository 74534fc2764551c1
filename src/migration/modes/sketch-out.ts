/** What can be built of a process before it is stopped, on its way to the destination. */
import { ComicranError, messageOf } from '../../base/errors.ts';
import type { SourceBefore } from '../roles.ts';
import { abortedError, within } from '../waiting.ts';
import { sendImage } from './pages-out.ts';

/** Resolves when the destination has built it. Where there is none it is made altogether of the image. */
export async function sendSketch(before: SourceBefore): Promise<void> {
  const { ports, phases, line, deadlines, signal } = before;
  phases.enter('sketch');
  let sketch: Uint8Array;
  try {
    sketch = await within(ports.clock, deadlines.stepMs, 'sketching the process', ports.process.sketch(), { signal });
  } catch (error) {
    if (signal?.aborted) throw abortedError();
    if (error instanceof ComicranError && error.code === 'process.gone') throw error;
    phases.note(`nothing of it is built beforehand: ${messageOf(error)}`);
    return;
  }
  await sendImage(before, sketch, 'SKETCH');
  await line.expect('SKETCHED', deadlines.stepMs);
}
