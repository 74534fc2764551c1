import { readFull } from './full-input.ts';

export async function diff(before: string, after: string, { json }: { readonly json?: true }): Promise<void> {
  const { differences, formatDifference } = await import('../../../configer/compare.ts');
  const found = differences(await readFull(before), await readFull(after));
  process.stdout.write(
    json === true ? `${JSON.stringify(found, null, 2)}\n` : found.map((one) => `${formatDifference(one)}\n`).join(''),
  );
  process.exitCode = found.length === 0 ? 0 : 1;
}
