/** Carries operations out, one after the other. Decides nothing: what is to be done stands in the plan. */
import { symlinkSync } from 'node:fs';
import { defined, unreachable } from '../base/assert.ts';
import { ComicranError, messageOf } from '../base/errors.ts';
import { makeCharacterDevice } from '../linux/device-node.ts';
import { MS, mount } from '../linux/mount.ts';
import { setHostname } from '../linux/namespaces.ts';
import { makeSandboxCgroup, makeSandboxRoot } from './apply-containment.ts';
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
import {
  enterUsers,
  keepHatchery,
  makeNamespaces,
  startProcess,
  startSandboxZygote,
  startSeat,
} from './apply-processes.ts';
import { addToTree, finishTree } from './apply-tree.ts';
import { Construction, type World } from './construction.ts';
import { describe, type Operation } from './operations.ts';
import { mountProc } from './zygote.ts';

export type ApplyOptions = World & {
  /** Called before each operation; what it throws counts as that operation's failure. */
  readonly before?: (operation: Operation, index: number) => void;
  readonly after?: (operation: Operation, construction: Construction) => void;
};

/**
 * Makes a sandbox. After success everything is there, and `construction.cleanup` takes it down. After failure nothing is
 * left, and the error names the operation.
 *
 * @param name of the sandbox, for errors.
 * @throws ComicranError sandbox.setup-failed, or a more particular one.
 */
export async function applyPlan(
  name: string,
  plan: readonly Operation[],
  options: ApplyOptions,
): Promise<Construction> {
  const construction = new Construction(options);
  let current = plan[0];
  try {
    for (const [index, operation] of plan.entries()) {
      current = operation;
      options.before?.(operation, index);
      const later = applyOperation(construction, operation);
      if (later !== undefined) await later;
      options.after?.(operation, construction);
    }
    return construction;
  } catch (thrown) {
    await construction.giveUp();
    const failures = await construction.cleanup.run();
    throw setupError(name, current, thrown, failures);
  }
}

function setupError(
  name: string,
  operation: Operation | undefined,
  thrown: unknown,
  failures: readonly Error[],
): ComicranError {
  const left = failures.map(messageOf).join('; ');
  const leftHint = left === '' ? '' : ` Not everything could be taken down (${left}): run 'comicran jailor clean'.`;
  if (thrown instanceof ComicranError && thrown.code !== 'process.gone') {
    const hint = `${thrown.hint ?? ''}${leftHint}`.trim();
    return leftHint === ''
      ? thrown
      : new ComicranError(thrown.code, thrown.message, { hint, cause: thrown.cause ?? thrown });
  }
  const step = operation === undefined ? 'begin' : describe(operation);
  return new ComicranError('sandbox.setup-failed', `sandbox ${name}: could not ${step}`, {
    hint: `What was made has been taken down.${leftHint}`,
    cause: thrown,
  });
}

/** @returns a promise where the operation takes its time. None does between entering and leaving the namespaces. */
function applyOperation(construction: Construction, operation: Operation): Promise<void> | undefined {
  switch (operation.kind) {
    case 'make-root':
      makeSandboxRoot(construction, operation.hostPath);
      return undefined;
    case 'begin-tree':
      construction.tree = [];
      return undefined;
    case 'make-directory':
    case 'place-file':
    case 'fit-mount-point':
      addToTree(construction, operation);
      return undefined;
    case 'make-symlink':
      if (construction.tree !== undefined) addToTree(construction, operation);
      else symlinkSync(operation.target, construction.at(operation.path));
      return undefined;
    case 'finish-tree':
      return finishTree(construction, operation.own);
    case 'make-cgroup':
      makeSandboxCgroup(construction, operation);
      return undefined;
    case 'start-zygote':
      startSandboxZygote(construction, operation.stdio);
      return undefined;
    case 'join-cgroup':
      construction.beginToJoin();
      return undefined;
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
