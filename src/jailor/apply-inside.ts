/** Carries out what is done to a sandbox from its namespaces on. Decides nothing, like apply.ts. */
import { defined, unreachable } from '../base/assert.ts';
import { makeCharacterDevice } from '../linux/device-node.ts';
import { MS, mount } from '../linux/mount.ts';
import { setHostname } from '../linux/namespaces.ts';
import {
  bindFromVm,
  bindReadOnly,
  bindRoot,
  mapRoot,
  maskPath,
  mountTmpfs,
  pivotInto,
  remountReadOnly,
} from './apply-mounts.ts';
import { applyNetworkOperation } from './apply-network.ts';
import { enterUsers, keepHatchery, makeNamespaces, startProcess, startSeat } from './apply-processes.ts';
import type { Construction } from './construction.ts';
import type { Operation } from './operations.ts';
import { mountProc } from './zygote.ts';

/** What is done before there are namespaces, and what apply.ts does later, too. */
type EarlyKind =
  | 'make-root'
  | 'make-cgroup'
  | 'start-zygote'
  | 'join-cgroup'
  | 'begin-tree'
  | 'make-directory'
  | 'place-file'
  | 'fit-mount-point'
  | 'make-symlink'
  | 'finish-tree';

export type InsideOperation = Exclude<Operation, { kind: EarlyKind }>;

/** @returns a promise where the operation takes its time. None does between entering and leaving the namespaces. */
export function applyInside(construction: Construction, operation: InsideOperation): Promise<void> | undefined {
  switch (operation.kind) {
    case 'make-namespaces':
      return makeNamespaces(construction, operation.ids);
    case 'make-link':
    case 'set-sysctl':
    case 'switch-offloads-off':
    case 'add-hold':
    case 'receive-on-one-cpu':
    case 'set-up':
    case 'add-address':
    case 'add-neighbour':
    case 'add-route':
      applyNetworkOperation(construction, operation);
      return undefined;
    case 'map-root':
      mapRoot(construction, operation.closed);
      return undefined;
    case 'enter-namespaces':
      construction.enter();
      return undefined;
    case 'set-hostname':
      setHostname(operation.name);
      return undefined;
    case 'make-mounts-private':
      mount({ source: '', target: '/', flags: MS.PRIVATE | MS.REC });
      return undefined;
    case 'bind-root':
      bindRoot(construction);
      return undefined;
    case 'mount-tmpfs':
      mountTmpfs(construction.at(operation.path), operation);
      return undefined;
    case 'mount-bind':
      bindFromVm(operation, construction.at(operation.path));
      return undefined;
    case 'make-device':
      makeCharacterDevice(construction.at(operation.path), { ...operation, mode: 0o666 });
      return undefined;
    case 'pivot-root':
      pivotInto(construction.at('/'));
      construction.prefix = '';
      return undefined;
    case 'start-seat':
      startSeat(construction, operation.pid ?? null);
      return undefined;
    case 'mount-proc':
      mountProc(defined(construction.seat, 'the seat'), construction.at('/proc'));
      return undefined;
    case 'protect':
      bindReadOnly(construction.at(operation.path));
      return undefined;
    case 'mask':
      maskPath(construction.at(operation.path), construction.at('/dev/null'));
      return undefined;
    case 'make-read-only':
      remountReadOnly(construction.at(operation.path));
      return undefined;
    case 'keep-hatchery':
      keepHatchery(construction);
      return undefined;
    case 'start-process':
      startProcess(construction, operation);
      return undefined;
    case 'enter-user-namespace':
      enterUsers(construction);
      return undefined;
    case 'leave-namespaces':
      construction.leave();
      return undefined;
    case 'end-zygote':
      defined(construction.zygote, 'the zygote').kill('SIGKILL');
      return undefined;
    default:
      return unreachable(operation);
  }
}
