/** What can be built of a process before it is stopped, on its way in. */
import { messageOf } from '../../base/errors.ts';
import type { ImageMessage } from '../messages.ts';
import type { BeginOptions } from '../ports.ts';
import type { DestinationBefore } from '../roles.ts';
import { abortedError, within } from '../waiting.ts';
import { receiveParts } from './pages-in.ts';

/**
 * Builds what a sketch shows, where one comes.
 * @returns the first part of the image, where that has come instead
 */
export async function receiveSketch(
  before: DestinationBefore,
  options: BeginOptions,
): Promise<ImageMessage | undefined> {
  const { line, phases, ports, deadlines, signal } = before;
  const first = await line.receive(deadlines.stepMs, 'SKETCH or IMAGE');
  if (first.type === 'IMAGE') return first;
  if (first.type !== 'SKETCH') throw line.unexpected(first, 'SKETCH or IMAGE');
  phases.enter('sketch');
  const sketch = await receiveParts(before, first, () => line.expect('SKETCH', deadlines.stepMs));
  try {
    const building = ports.engine.sketch(sketch, options);
    await within(ports.clock, deadlines.stepMs, 'building what a sketch shows', building, { signal });
  } catch (error) {
    if (signal?.aborted) throw abortedError();
    // What is in the way of the process itself is said of its image.
    phases.note(`nothing of it is built beforehand: ${messageOf(error)}`);
  }
  await line.send({ type: 'SKETCHED' }, deadlines.stepMs);
  return undefined;
}
