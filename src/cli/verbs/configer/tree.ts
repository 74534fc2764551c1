import { readFull } from './full-input.ts';

export async function tree(file: string, { json }: { readonly json?: true }): Promise<void> {
  const { closureTree, formatClosureTree } = await import('../../../configer/closure-tree.ts');
  const top = closureTree(await readFull(file));
  process.stdout.write(json === true ? `${JSON.stringify(top, null, 2)}\n` : formatClosureTree(top));
}
