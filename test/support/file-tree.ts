import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** A link to somewhere, as `{ link: '../x' }`; a file of these bytes, mode 0755 if it begins like a program. */
type Content = string | Buffer | { readonly link: string };

export type FileTree = {
  readonly root: string;
  /** The absolute path. */
  readonly at: (path: string) => string;
  readonly add: (files: Readonly<Record<string, Content>>) => void;
  /** With all that is in it; nothing where it is not there. */
  readonly remove: (path: string) => void;
  readonly [Symbol.dispose]: () => void;
};

/** A directory of its own for a test, removed by `using`. */
export function fileTree(files: Readonly<Record<string, Content>> = {}): FileTree {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'comicran-configer-')));
  const at = (path: string): string => join(root, path);
  const add = (more: Readonly<Record<string, Content>>): void => {
    for (const [path, content] of Object.entries(more)) {
      mkdirSync(dirname(at(path)), { recursive: true });
      if (typeof content === 'string' || Buffer.isBuffer(content)) {
        writeFileSync(at(path), content);
        chmodSync(at(path), /^(?:#!|\x7fELF)/.test(content.toString('latin1', 0, 4)) ? 0o755 : 0o644);
      } else symlinkSync(content.link, at(path));
    }
  };
  add(files);
  const remove = (path: string): void => rmSync(at(path), { recursive: true, force: true });
  return { root, at, add, remove, [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }) };
}
