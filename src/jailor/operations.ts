/**
 * A sandbox as a list of operations, from nothing to a running process. `plan.ts` makes the list without touching
 * anything; `apply.ts` carries it out without deciding anything; `describe` says each in words.
 *
 * Paths are paths inside the sandbox, absolute and normal, if not said otherwise. `side` says in which network namespace.
 */
import { unreachable } from '../base/assert.ts';
import type { ProcessSpec } from '../base/sandbox-config.ts';

export type Side = 'vm' | 'sandbox';

/** Where standard input, output and error of the root process lead: jailor's own, or /dev/null and the log. */
export type Stdio = 'inherit' | 'log';

export type Operation =
  // The root directory.
  | { readonly kind: 'make-root'; readonly hostPath: string }
  | { readonly kind: 'make-directory'; readonly path: string; readonly mode: number }
  | {
      readonly kind: 'place-file';
      readonly path: string;
      readonly source: string;
      readonly sha256: string;
      readonly size: number;
      readonly mode: number;
    }
  | { readonly kind: 'make-symlink'; readonly path: string; readonly target: string }
  // Containment and network.
  | { readonly kind: 'make-cgroup'; readonly name: string }
  /** Begins; `enter-namespaces` waits for it. */
  | { readonly kind: 'join-cgroup' }
  | { readonly kind: 'make-network-namespace' }
  | {
      readonly kind: 'make-link';
      readonly outside: { readonly name: string; readonly mac: string };
      readonly inside: { readonly name: string; readonly mac: string };
    }
  | { readonly kind: 'set-sysctl'; readonly side: Side; readonly key: string; readonly value: string }
  | { readonly kind: 'switch-offloads-off'; readonly side: Side; readonly link: string }
  /** `seed` picks the CPU. */
  | { readonly kind: 'receive-on-one-cpu'; readonly side: Side; readonly link: string; readonly seed: number }
  | { readonly kind: 'set-up'; readonly side: Side; readonly link: string }
  | { readonly kind: 'add-address'; readonly side: Side; readonly link: string; readonly address: string }
  | {
      readonly kind: 'add-neighbour';
      readonly side: Side;
      readonly link: string;
      readonly address: string;
      readonly mac: string;
    }
  | {
      readonly kind: 'add-route';
      readonly side: Side;
      readonly link: string;
      readonly destination: string;
      readonly gateway?: string;
    }
  // From here on jailor's thread is in the sandbox's namespaces.
  | { readonly kind: 'enter-namespaces' }
  | { readonly kind: 'refuse-io-uring' }
  | { readonly kind: 'set-hostname'; readonly name: string }
  | { readonly kind: 'make-mounts-private' }
  | { readonly kind: 'bind-root' }
  | { readonly kind: 'mount-tmpfs'; readonly path: string; readonly mode: number; readonly sizeBytes: number }
  | { readonly kind: 'make-device'; readonly path: string; readonly major: number; readonly minor: number }
  | { readonly kind: 'start-init' }
  | { readonly kind: 'mount-proc' }
  | { readonly kind: 'protect'; readonly path: string }
  | { readonly kind: 'set-next-pid'; readonly pid: number }
  | { readonly kind: 'start-hatchery'; readonly stdio: Stdio }
  | { readonly kind: 'await-idle' }
  | { readonly kind: 'make-read-only'; readonly path: string }
  | { readonly kind: 'pivot-root' }
  | { readonly kind: 'start-process'; readonly process: ProcessSpec; readonly stdio: Stdio }
  | { readonly kind: 'leave-namespaces' };

export type OperationKind = Operation['kind'];

const octal = (mode: number): string => mode.toString(8).padStart(4, '0');
const of = (side: Side): string => (side === 'vm' ? 'on the VM' : 'in the sandbox');

/** One line for a person: `mount a tmpfs of 256 MiB at /tmp (mode 1777)`. */
export function describe(operation: Operation): string {
  switch (operation.kind) {
    case 'make-root':
      return `make the root directory ${operation.hostPath}`;
    case 'make-directory':
      return `make directory ${operation.path} (mode ${octal(operation.mode)})`;
    case 'place-file':
      return `place file ${operation.path} from ${operation.source} (mode ${octal(operation.mode)}, ${operation.size} bytes)`;
    case 'make-symlink':
      return `make symbolic link ${operation.path} -> ${operation.target}`;
    case 'make-cgroup':
      return `make cgroup ${operation.name}`;
    case 'join-cgroup':
      return 'join the cgroup';
    case 'make-network-namespace':
      return 'make a network namespace';
    case 'make-link':
      return `make veth pair ${operation.outside.name} (${operation.outside.mac}) on the VM, ${operation.inside.name} (${operation.inside.mac}) in the sandbox`;
    case 'set-sysctl':
      return `set net/${operation.key} to ${operation.value} ${of(operation.side)}`;
    case 'switch-offloads-off':
      return `switch the offloads of ${operation.link} off ${of(operation.side)}`;
    case 'receive-on-one-cpu':
      return `have one CPU receive for ${operation.link} ${of(operation.side)} (number ${operation.seed} in turn)`;
    case 'set-up':
      return `set link ${operation.link} up ${of(operation.side)}`;
    case 'add-address':
      return `add address ${operation.address}/32 to ${operation.link} ${of(operation.side)}`;
    case 'add-neighbour':
      return `add permanent neighbour ${operation.address} (${operation.mac}) of ${operation.link} ${of(operation.side)}`;
    case 'add-route': {
      const via = operation.gateway === undefined ? '' : ` via ${operation.gateway}`;
      return `add route to ${operation.destination}${via} by ${operation.link} ${of(operation.side)}`;
    }
    case 'enter-namespaces':
      return 'enter new mount, uts, ipc, cgroup and pid namespaces';
    case 'refuse-io-uring':
      return 'refuse the system calls of io_uring (seccomp): a process that has a ring cannot be moved';
    case 'set-hostname':
      return `set hostname ${operation.name}`;
    case 'make-mounts-private':
      return 'make all mounts private';
    case 'bind-root':
      return 'mount the root directory onto itself';
    case 'mount-tmpfs':
      return `mount a tmpfs of ${operation.sizeBytes / 2 ** 20} MiB at ${operation.path} (mode ${octal(operation.mode)})`;
    case 'make-device':
      return `make device ${operation.path} (${operation.major}:${operation.minor})`;
    case 'start-init':
      return 'start the idle init as PID 1';
    case 'mount-proc':
      return 'mount procfs at /proc';
    case 'protect':
      return `make ${operation.path} read-only, if the kernel has it`;
    case 'set-next-pid':
      return `make ${operation.pid} the next PID`;
    case 'start-hatchery':
      return 'start the hatchery';
    case 'await-idle':
      return "wait until what comes from the VM's files has loaded them";
    case 'make-read-only':
      return `make the mount at ${operation.path} read-only`;
    case 'pivot-root':
      return 'pivot into the root directory and unmount the old one';
    case 'start-process': {
      const { executable, arguments: words } = operation.process;
      return `run ${[executable, ...words].map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : JSON.stringify(word))).join(' ')}`;
    }
    case 'leave-namespaces':
      return "come back to jailor's own namespaces and cgroup";
    default:
      return unreachable(operation);
  }
}
