/**
 * A sandbox as a list of operations, from nothing to a running process. `plan.ts` makes the list without touching
 * anything; `apply.ts` carries it out without deciding anything; `describe` says each in words.
 *
 * Paths are paths inside the sandbox, absolute and normal, if not said otherwise. `side` says in which network namespace.
 */
import { unreachable } from '../base/assert.ts';
import type { LimitsSpec, ProcessSpec } from '../base/sandbox-config.ts';
import type { IdMaps } from '../linux/id-map.ts';
import { describeIds, type Owner } from './ids.ts';
import { describePrivileges, type Privileges } from './privileges.ts';

export type Side = 'vm' | 'sandbox';

/** Where standard input, output and error of the root process lead: jailor's own, or /dev/null and the log. */
export type Stdio = 'inherit' | 'log';

export type Operation =
  // The root directory.
  | { readonly kind: 'make-root'; readonly hostPath: string }
  /** The operations up to `finish-tree` say what is in it; that one makes it, or finds it made. */
  | { readonly kind: 'begin-tree' }
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
  /** In the root directory, for a bind: a file where the source is one. */
  | { readonly kind: 'fit-mount-point'; readonly path: string; readonly source: string }
  /** `own`: nothing of it is shared with anybody, because who runs in it could come to write to it. */
  | { readonly kind: 'finish-tree'; readonly own: boolean }
  // Containment and network.
  | {
      readonly kind: 'make-cgroup';
      readonly name: string;
      readonly limits: LimitsSpec;
      /** Those of the limits without which there is to be no sandbox. */
      readonly required: readonly string[];
      /** A directory of the VM on the disk that limits of input and output are for. */
      readonly disk: string;
    }
  | { readonly kind: 'start-zygote'; readonly stdio: Stdio }
  /** Begins; `make-namespaces` waits for it. */
  | { readonly kind: 'join-cgroup' }
  /** Without ranges of ids: no user namespace. */
  | { readonly kind: 'make-namespaces'; readonly ids: IdMaps }
  | {
      readonly kind: 'make-link';
      readonly outside: { readonly name: string; readonly mac: string };
      readonly inside: { readonly name: string; readonly mac: string };
    }
  | { readonly kind: 'set-sysctl'; readonly side: Side; readonly key: string; readonly value: string }
  | { readonly kind: 'switch-offloads-off'; readonly side: Side; readonly link: string }
  /** `seed` picks the CPU. */
  | { readonly kind: 'add-hold'; readonly side: Side; readonly link: string }
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
  /** With a user namespace: a view of the tree in which its files are those of root inside. `closed`: what only they can read. */
  | { readonly kind: 'map-root'; readonly closed: readonly string[] }
  // From here on jailor's thread is in the sandbox's namespaces.
  | { readonly kind: 'enter-namespaces' }
  | { readonly kind: 'set-hostname'; readonly name: string }
  | { readonly kind: 'make-mounts-private' }
  | { readonly kind: 'bind-root' }
  | {
      readonly kind: 'mount-tmpfs';
      readonly path: string;
      readonly mode: number;
      readonly sizeBytes: number;
      readonly executable: boolean;
      /** Device nodes in it work. */
      readonly devices?: true;
      readonly owner: Owner;
    }
  | {
      readonly kind: 'mount-bind';
      readonly path: string;
      readonly source: string;
      readonly writable: boolean;
      readonly executable: boolean;
    }
  | {
      readonly kind: 'make-device';
      readonly path: string;
      readonly major: number;
      readonly minor: number;
      readonly owner: Owner;
    }
  | { readonly kind: 'pivot-root' }
  /** The process that becomes the hatchery or the root process. Without `pid` it is the next one. */
  | { readonly kind: 'start-seat'; readonly pid?: number }
  | { readonly kind: 'mount-proc' }
  | { readonly kind: 'protect'; readonly path: string }
  | { readonly kind: 'mask'; readonly path: string }
  | { readonly kind: 'make-read-only'; readonly path: string }
  | { readonly kind: 'keep-hatchery' }
  | { readonly kind: 'start-process'; readonly process: ProcessSpec; readonly privileges: Privileges }
  | { readonly kind: 'leave-namespaces' }
  /** By the process that is to be: it is root inside then, and nobody on the VM. */
  | { readonly kind: 'enter-user-namespace' }
  | { readonly kind: 'end-zygote' };

export type OperationKind = Operation['kind'];

const octal = (mode: number): string => mode.toString(8).padStart(4, '0');
const of = (side: Side): string => (side === 'vm' ? 'on the VM' : 'in the sandbox');

/** One line for a person: `mount a tmpfs of 256 MiB at /tmp (mode 1777)`. */
export function describe(operation: Operation): string {
  switch (operation.kind) {
    case 'make-root':
      return `make the root directory ${operation.hostPath}`;
    case 'begin-tree':
      return 'begin the tree that is the root directory';
    case 'finish-tree':
      return operation.own
        ? 'make that tree, of files of its own'
        : 'share that tree with every sandbox that has the same, by the store; make it if it is not there';
    case 'make-directory':
      return `make directory ${operation.path} (mode ${octal(operation.mode)})`;
    case 'place-file':
      return `place file ${operation.path} from ${operation.source} (mode ${octal(operation.mode)}, ${operation.size} bytes)`;
    case 'make-symlink':
      return `make symbolic link ${operation.path} -> ${operation.target}`;
    case 'fit-mount-point':
      return `make ${operation.path} a file, if ${operation.source} is one`;
    case 'make-cgroup': {
      const limits = Object.entries(operation.limits).map(([name, value]) => `${name} ${value}`);
      return `make cgroup ${operation.name} (${limits.join(', ')})`;
    }
    case 'start-zygote':
      return 'start the zygote, an idle process that the others are clones of';
    case 'join-cgroup':
      return 'move the zygote into the cgroup';
    case 'make-namespaces': {
      const ids = describeIds(operation.ids);
      const user = ids === undefined ? '' : `, and a user namespace with the ids ${ids}`;
      return `clone the idle init, as PID 1 of new mount, uts, ipc, cgroup, network, pid and time namespaces${user}`;
    }
    case 'map-root':
      return 'make a view of that tree in which root inside owns what root owns';
    case 'make-link':
      return `make veth pair ${operation.outside.name} (${operation.outside.mac}) on the VM, ${operation.inside.name} (${operation.inside.mac}) in the sandbox`;
    case 'set-sysctl':
      return `set net/${operation.key} to ${operation.value} ${of(operation.side)}`;
    case 'switch-offloads-off':
      return `switch the offloads of ${operation.link} off ${of(operation.side)}`;
    case 'receive-on-one-cpu':
      return `have one CPU receive for ${operation.link} ${of(operation.side)} (number ${operation.seed} in turn)`;
    case 'add-hold':
      return `put an open hold before ${operation.link} ${of(operation.side)}`;
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
      return 'enter the mount and uts namespaces';
    case 'set-hostname':
      return `set hostname ${operation.name}`;
    case 'make-mounts-private':
      return 'make all mounts private';
    case 'bind-root':
      return 'mount the tree at the root directory';
    case 'mount-tmpfs': {
      const { path, mode, sizeBytes, executable, devices } = operation;
      const flags = `nosuid${devices === true ? '' : ', nodev'}${executable ? '' : ', noexec'}`;
      return `mount a tmpfs of ${Math.ceil(sizeBytes / 2 ** 20)} MiB at ${path} (mode ${octal(mode)}, ${flags})`;
    }
    case 'mount-bind': {
      const { path, source, writable, executable } = operation;
      return `mount ${source} at ${path} (${writable ? '' : 'read-only, '}nosuid, nodev${executable ? '' : ', noexec'})`;
    }
    case 'make-device':
      return `make device ${operation.path} (${operation.major}:${operation.minor})`;
    case 'pivot-root':
      return 'pivot into the root directory and unmount the old one';
    case 'start-seat':
      return `clone the process that is to be (${operation.pid === undefined ? 'the next PID' : `PID ${operation.pid}`})`;
    case 'mount-proc':
      return 'mount procfs at /proc';
    case 'protect':
      return `make ${operation.path} read-only, if the kernel has it`;
    case 'mask':
      return `hide ${operation.path}, if the kernel has it`;
    case 'make-read-only':
      return `make the mount at ${operation.path} read-only`;
    case 'keep-hatchery':
      return 'leave that process asleep, as the hatchery';
    case 'start-process': {
      const { process, privileges } = operation;
      const words = [process.executable, ...process.arguments];
      const shown = words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : JSON.stringify(word))).join(' ');
      return `run ${shown} (${describePrivileges(privileges)})`;
    }
    case 'enter-user-namespace':
      return 'have that process enter the user namespace, as its root';
    case 'leave-namespaces':
      return "come back to jailor's own namespaces";
    case 'end-zygote':
      return 'end the zygote';
    default:
      return unreachable(operation);
  }
}
