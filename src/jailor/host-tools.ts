/**
 * The machine's programs for a look into a sandbox, which has none: in a mount namespace of the guest's own, whose root is
 *
 *     /usr /bin /lib …   the machine's, read-only
 *     /sandbox           the sandbox's root with all that is mounted in it
 *     /proc /dev /tmp    the sandbox's
 *
 * Of the machine there is nothing but programs, libraries and what they share: whatever of the sandbox looks at the guest by
 * /proc sees no secret. No one but the guest sees any of it otherwise, and it ends with the guest.
 */
import { closeSync, lstatSync, readlinkSync } from 'node:fs';
import { CLONE } from '../linux/clone-flags.ts';
import type { StoppedProcess } from '../linux/idle-process.ts';
import { cString } from '../linux/libc.ts';
import { MS } from '../linux/mount.ts';
import {
  AT_FDCWD,
  AT_RECURSIVE,
  MOVE_MOUNT_F_EMPTY_PATH,
  OPEN_TREE_CLONE,
  readOnlyCopyOf,
} from '../linux/mount-tree.ts';
import { SYS } from '../linux/syscall-numbers.ts';

/** Links to directories of /usr nowadays, directories of their own on old machines. */
const AT_THE_ROOT = ['usr', 'bin', 'sbin', 'lib', 'lib32', 'lib64', 'libx32', 'etc/alternatives'];
/** Where the sandbox's root is for the guest. */
export const SANDBOX_DIRECTORY = '/sandbox';
export const HOST_TOOLS_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const OF_THE_SANDBOX = ['proc', 'dev', 'tmp'];
const FIRST_INHERITED_FD = 3;
const LAST_FD = 0xffff_ffff;
const MNT_DETACH = 2;

type Place = { readonly name: string; readonly fd: number } | { readonly name: string; readonly target: string };

export class HostTools {
  readonly #places: readonly Place[];
  /** Descriptors that the guest must have from 3 on. */
  readonly inherited: readonly number[];

  constructor() {
    this.#places = AT_THE_ROOT.flatMap((name): Place[] => {
      const found = lstatSync(`/${name}`, { throwIfNoEntry: false });
      if (found?.isSymbolicLink() === true) return [{ name, target: readlinkSync(`/${name}`) }];
      return found?.isDirectory() === true ? [{ name, fd: readOnlyCopyOf(`/${name}`) }] : [];
    });
    this.inherited = this.#places.flatMap((place) => ('fd' in place ? [place.fd] : []));
  }

  close(): void {
    for (const fd of this.inherited) closeSync(fd);
  }

  /** Makes the guest's root. @param seat in the sandbox, with all privileges. */
  arrange({ thread }: StoppedProcess): void {
    const text = (words: string): bigint => thread.put(cString(words));
    const directory = (name: string): bigint => thread.call(`make /${name}`, SYS.mkdir, text(name), 0o755);
    const move = (fd: number | bigint, name: string): bigint =>
      thread.call(`mount /${name}`, SYS.move_mount, fd, text(''), AT_FDCWD, text(name), MOVE_MOUNT_F_EMPTY_PATH);
    thread.call('make a mount namespace', SYS.unshare, CLONE.NEWNS);
    thread.call('make its mounts private', SYS.mount, 0, text('/'), 0, MS.PRIVATE | MS.REC, 0);
    const box = thread.call(
      'take the sandbox’s root',
      SYS.open_tree,
      AT_FDCWD,
      text('/'),
      OPEN_TREE_CLONE | AT_RECURSIVE,
    );
    // Every sandbox has this directory. What is mounted over it here only the guest sees.
    const type = text('tmpfs');
    thread.call('make a root', SYS.mount, type, text('/proc'), type, MS.NOSUID | MS.NODEV, text('size=64k,mode=755'));
    thread.call('go there', SYS.chdir, text('/proc'));
    for (const name of ['etc', 'sandbox', ...OF_THE_SANDBOX]) directory(name);
    let fd = FIRST_INHERITED_FD;
    for (const place of this.#places) {
      if ('target' in place) thread.call(`make /${place.name}`, SYS.symlink, text(place.target), text(place.name));
      else {
        directory(place.name);
        move(fd++, place.name);
      }
    }
    move(box, 'sandbox');
    for (const name of OF_THE_SANDBOX) {
      // A configuration may have put something else there than a directory.
      thread.tryCall(SYS.mount, text(`sandbox/${name}`), text(name), 0, MS.BIND | MS.REC, 0);
    }
    const readOnly = MS.REMOUNT | MS.BIND | MS.RDONLY | MS.NOSUID | MS.NODEV;
    thread.call('make the root read-only', SYS.mount, 0, text('.'), 0, readOnly, 0);
    thread.call('change the root', SYS.pivot_root, text('.'), text('.'));
    thread.call('leave the old root', SYS.umount2, text('.'), MNT_DETACH);
    thread.call('close what is mounted', SYS.close_range, FIRST_INHERITED_FD, LAST_FD, 0);
  }
}
