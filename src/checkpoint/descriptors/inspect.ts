import type { DescriptionKind } from '../../image/descriptors/types.ts';
import { captureTable, refusalError } from './capture.ts';
import type { CaptureContext } from './source.ts';

/**
 * How often a process that runs is looked at before it is refused: it goes on opening and closing descriptors while it is
 * being looked at, and connections come that it is about to accept.
 */
const LOOKS = 3;

type DescriptorSummary = { readonly number: number; readonly kind: DescriptionKind };

/**
 * Looks at the descriptors of a process that runs, without stopping it or touching it.
 *
 * What it finds may have changed a moment later: the capture of the stopped process decides.
 *
 * @returns every descriptor with its kind.
 * @throws ComicranError process.unsupported, naming every descriptor that cannot be moved.
 */
export function inspectDescriptors(context: Omit<CaptureContext, 'running'>): DescriptorSummary[] {
  for (let look = 1; ; look++) {
    const { table, refusals } = captureTable({ ...context, running: true });
    if (refusals.length === 0) {
      return table.descriptors.map(({ number, description }) => ({
        number,
        kind: table.descriptions[description]!.kind,
      }));
    }
    if (look === LOOKS) throw refusalError(context.pid, refusals);
  }
}
