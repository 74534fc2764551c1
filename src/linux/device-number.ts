/** Numbers of devices as user space sees them: minor bits 0-7 and 20-31, major bits 8-19 (linux/kdev_t.h, new_encode_dev). */

export type DeviceNumber = { readonly major: number; readonly minor: number };

export function encodeDevice({ major, minor }: DeviceNumber): number {
  return (minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12);
}

export function decodeDevice(number: number): DeviceNumber {
  return { major: (number >>> 8) & 0xfff, minor: (number & 0xff) | ((number >>> 12) & 0xfff00) };
}

/** `major:minor`, as sysfs and mountinfo have it. */
export function deviceText(number: number): string {
  const { major, minor } = decodeDevice(number);
  return `${major}:${minor}`;
}
