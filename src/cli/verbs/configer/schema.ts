export async function schema(which: 'base' | 'full'): Promise<void> {
  const { PUBLISHED } = await import('../../../configer/json-schema.ts');
  process.stdout.write(`${JSON.stringify(PUBLISHED[which](), null, 2)}\n`);
}
