/**
 * Carries operations out, one after the other. Decides nothing: what is to be done stands in the plan.
 *
 * From the namespaces on apply-inside.ts does it. That is loaded while the kernel moves the zygote into its cgroup, the longest
 * wait of a start.
 */
import { symlinkSync } from 'node:fs';
import { ComicranError, messageOf } from '../base/errors.ts';
import { makeSandboxCgroup, makeSandboxRoot, startSandboxZygote } from './apply-containment.ts';
import type { InsideOperation } from './apply-inside.ts';
import { addToTree, finishTree } from './apply-tree.ts';
import { Construction, type World } from './construction.ts';
import { describe, type Operation } from './operations.ts';

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
  const inside = insideLoader(construction);
  let current = plan[0];
  try {
    for (const [index, operation] of plan.entries()) {
      current = operation;
      options.before?.(operation, index);
      const later = applyOperation(construction, operation, inside);
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

type Apply = (operation: InsideOperation) => Promise<void> | undefined;

function insideLoader(construction: Construction): Apply {
  let loaded: Apply | undefined;
  return (operation) => {
    if (loaded !== undefined) return loaded(operation);
    return import('./apply-inside.ts').then(({ applyInside }) => {
      loaded = (one) => applyInside(construction, one);
      return loaded(operation);
    });
  };
}

/** @returns a promise where the operation takes its time. None does between entering and leaving the namespaces. */
function applyOperation(construction: Construction, operation: Operation, inside: Apply): Promise<void> | undefined {
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
    default:
      return inside(operation);
  }
}
