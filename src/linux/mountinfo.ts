/** /proc/PID/mountinfo, proc_pid_mountinfo(5). */
import { readFileSync } from 'node:fs';

export type MountInfo = {
  readonly id: number;
  /** `major:minor` of the file system. */
  readonly device: string;
  /** Where it is mounted, from the root of the process. */
  readonly mountPoint: string;
  /** `tmpfs`, `ext4`… */
  readonly type: string;
};

/** The mounts that a process sees. @throws Error ENOENT: no such process. */
export function readMounts(pid: number): MountInfo[] {
  return parseMounts(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'));
}

export function parseMounts(text: string): MountInfo[] {
  const mounts: MountInfo[] = [];
  for (const line of text.split('\n')) {
    if (line === '') continue;
    // Optional fields end with a lone hyphen.
    const fields = line.split(' ');
    const separator = fields.indexOf('-', 6);
    const [id, , device, , mountPoint] = fields;
    const type = fields[separator + 1];
    if (separator < 0 || type === undefined) throw new Error(`unreadable line in mountinfo: ${line}`);
    mounts.push({ id: Number(id), device: device!, mountPoint: decodeOctal(mountPoint!), type });
  }
  return mounts;
}

/** Blanks and backslashes are written as three octal digits. */
function decodeOctal(path: string): string {
  return path.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}
