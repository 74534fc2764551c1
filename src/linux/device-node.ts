/** mknod(2) for character devices. */
import { chmodSync, chownSync } from 'node:fs';
import { type DeviceNumber, encodeDevice } from './device-number.ts';
import { cString, syscall } from './libc.ts';
import { SYS } from './syscall-numbers.ts';

const S_IFCHR = 0o020000;
const AT_FDCWD = -100;

type CharacterDevice = DeviceNumber & {
  readonly mode: number;
  readonly owner: { readonly uid: number; readonly gid: number };
};

/** Makes a character device that has exactly these permission bits, whatever the umask. */
export function makeCharacterDevice(path: string, device: CharacterDevice): void {
  const number = encodeDevice(device);
  syscall(`mknod ${path}`, SYS.mknodat, AT_FDCWD, cString(path), S_IFCHR | device.mode, number);
  chmodSync(path, device.mode);
  if (device.owner.uid !== 0) chownSync(path, device.owner.uid, device.owner.gid);
}
