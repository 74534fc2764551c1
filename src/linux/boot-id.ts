import { readFileSync } from 'node:fs';

/** Another one each time that this machine is started (random(4)). */
export function readBootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}
