/** How a QEMU is started. A value in, words out. */

export type Accelerator = 'kvm' | 'tcg';

export type Machine = {
  readonly name: string;
  readonly kernel: string;
  readonly initramfs: string;
  /** What the kernel is told beside where its console is. */
  readonly kernelWords: readonly string[];
  readonly memoryMib: number;
  /** A model that QEMU knows; undefined: all that the accelerator can do. */
  readonly cpu: string | undefined;
  readonly accelerator: Accelerator;
  /** Ethernet devices that it gets, in the order of their numbers: names of TAP devices that exist. */
  readonly links: readonly { readonly tap: string; readonly mac: string }[];
  /** A file that is its disk, as it is; undefined: it has none. */
  readonly disk: string | undefined;
  /** Unix socket of its monitor; undefined: none. */
  readonly monitor: string | undefined;
  /** Its serial console. */
  readonly console: { readonly log: string; readonly socket: string | undefined };
  /** Seconds that its clock is ahead of this machine's. */
  readonly clockAheadSeconds: number;
};

export const QEMU = 'qemu-system-x86_64';

/** In an option with a comma, a comma of a value is doubled. */
const value = (text: string): string => text.replaceAll(',', ',,');

function accelerated({ accelerator, cpu }: Machine): string[] {
  if (accelerator === 'kvm') return ['-accel', 'kvm', '-cpu', cpu ?? 'host'];
  return ['-accel', 'tcg,tb-size=256', '-cpu', cpu ?? 'max'];
}

function clock({ clockAheadSeconds }: Machine, nowMs: number): string[] {
  if (clockAheadSeconds === 0) return ['-rtc', 'base=utc'];
  const base = new Date(nowMs + clockAheadSeconds * 1000).toISOString().slice(0, 19);
  return ['-rtc', `base=${base}`];
}

function network({ links }: Machine): string[] {
  if (links.length === 0) return ['-nic', 'none'];
  return links.flatMap(({ tap, mac }, index) => [
    ...['-netdev', `tap,id=link${index},ifname=${tap},script=no,downscript=no,vhost=off`],
    // Without a ROM to boot from.
    ...['-device', `virtio-net-pci,netdev=link${index},mac=${mac},romfile=`],
  ]);
}

function consoleOf({ console: { log, socket } }: Machine): string[] {
  if (socket === undefined) return ['-serial', `file:${log}`];
  const where = `path=${value(socket)},server=on,wait=off,logfile=${value(log)},logappend=on`;
  return ['-chardev', `socket,id=console,${where}`, '-serial', 'chardev:console'];
}

function diskOf({ disk }: Machine): string[] {
  if (disk === undefined) return [];
  return [
    '-drive',
    `if=none,id=disk,format=raw,discard=unmap,file=${value(disk)}`,
    '-device',
    'virtio-blk-pci,drive=disk',
  ];
}

/** @param nowMs Unix time */
export function qemuWords(machine: Machine, nowMs: number): string[] {
  const { name, kernel, initramfs, kernelWords, memoryMib, monitor } = machine;
  return [
    ...['-name', name, '-machine', 'pc', '-no-user-config', '-nodefaults', '-display', 'none', '-no-reboot'],
    ...accelerated(machine),
    ...['-smp', '1', '-m', `${memoryMib}M`],
    ...['-kernel', kernel, '-initrd', initramfs],
    ...['-append', ['console=ttyS0', 'panic=-1', ...kernelWords].join(' ')],
    ...clock(machine, nowMs),
    ...['-device', 'virtio-rng-pci'],
    ...diskOf(machine),
    ...network(machine),
    ...consoleOf(machine),
    ...(monitor === undefined ? [] : ['-qmp', `unix:${value(monitor)},server=on,wait=off`]),
  ];
}
