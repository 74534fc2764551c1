/** What a mode asks of the machine where the process runs. What it asks of the process, and of the other machine, they say. */
import { ComicranError } from '../../base/errors.ts';
import { type KernelFacts, probeKernel } from '../../linux/kernel-facts.ts';
import type { ModeName } from '../../migration/modes.ts';

/** @throws ComicranError needs.kernel; nothing has been touched then */
export function checkKernel(
  mode: ModeName,
  { writeTracking }: Pick<KernelFacts, 'writeTracking'> = probeKernel(),
): void {
  if (mode !== 'precopy' || writeTracking !== 'none') return;
  throw new ComicranError(
    'needs.kernel',
    'mode precopy has to notice which pages are written, and this kernel cannot',
    {
      hint: 'It takes Linux 6.7, or an older one with CONFIG_MEM_SOFT_DIRTY. Use another mode.',
    },
  );
}
