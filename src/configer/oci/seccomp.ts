/**
 * `linux.seccomp` of a bundle. A sandbox makes the calls of its own profile; of these a bundle's profile can take some away,
 * and it adds none.
 */
import type { CallRule, SystemCall } from '../../linux/seccomp-program.ts';
import { isSystemCall } from '../../linux/seccomp-program.ts';
import type { Part } from './part.ts';
import { type Report, shown } from './report.ts';

export type Profile = ReadonlyMap<SystemCall, CallRule>;

type Condition = { readonly index: number; readonly value: number; readonly valueTwo: number; readonly op: string };
/** One entry of `syscalls`, for one of its names. */
type Entry = { readonly allows: boolean; readonly conditions: readonly Condition[]; readonly path: string };

const ALLOWING = ['SCMP_ACT_ALLOW', 'SCMP_ACT_LOG'];
const REFUSING = ['SCMP_ACT_ERRNO', 'SCMP_ACT_KILL', 'SCMP_ACT_KILL_PROCESS', 'SCMP_ACT_KILL_THREAD', 'SCMP_ACT_TRAP'];
const EPERM = 1;

/** @returns the only calls that the sandbox may make of its profile; undefined: all of them. */
export function onlySystemCallsOf(part: Part, profile: Profile, report: Report): readonly string[] | undefined {
  const byDefault = allows(part, 'defaultAction', report);
  if ((part.number('defaultErrnoRet') ?? EPERM) !== EPERM)
    report.note(part.at('defaultErrnoRet'), 'what is refused fails with EPERM');
  const entries = entriesOf(part, report);
  part.remark({
    architectures: 'system calls of x86-64 alone can be made',
    flags: 'they change nothing about which calls can be made',
  });
  part.refuse({
    listenerPath: 'nobody would be asked about system calls',
    listenerMetadata: 'nobody would be asked about system calls',
  });
  part.end();
  const given = [...profile].filter(([name, rule]) => {
    if (rule !== 'allow' && !('test' in rule)) return false;
    return isAllowed(name, rule, entries.get(name) ?? [], byDefault, report);
  });
  const beyond = [...entries].filter(
    ([name, ones]) => ones.some((one) => one.allows) && isSystemCall(name) && !profile.has(name),
  );
  if (beyond.length > 0) {
    const names = beyond.map(([name]) => name).join(', ');
    report.note(part.at('syscalls'), `not given without security.systemCalls of the full configuration: ${names}`);
  }
  const most = [...profile.values()].filter((rule) => rule === 'allow' || 'test' in rule).length;
  return given.length === most ? undefined : given.map(([name]) => name).toSorted();
}

function allows(part: Part, key: string, report: Report): boolean {
  const action = part.text(key) ?? '';
  if (ALLOWING.includes(action)) return true;
  if (!REFUSING.includes(action))
    report.error(part.at(key), `${shown(action)}: nobody would be asked about system calls`);
  else if (action !== 'SCMP_ACT_ERRNO') report.note(part.at(key), `${action}: a call fails with EPERM`);
  return false;
}

function entriesOf(part: Part, report: Report): ReadonlyMap<string, readonly Entry[]> {
  const entries = new Map<string, Entry[]>();
  for (const each of part.parts('syscalls')) {
    const entry = { allows: allows(each, 'action', report), conditions: conditionsOf(each), path: each.path };
    // What a refused call fails with is EPERM, or ENOSYS where the sandbox is as an older kernel.
    each.number('errnoRet');
    const own = each.text('name');
    for (const name of [...each.texts('names'), ...(own === undefined ? [] : [own])]) {
      const known = entries.get(name);
      if (known === undefined) entries.set(name, [entry]);
      else known.push(entry);
    }
    each.remark({ comment: 'it is a comment' });
    each.end();
  }
  return entries;
}

function conditionsOf(part: Part): Condition[] {
  return part.parts('args').map((each) => {
    const condition = {
      index: each.number('index') ?? 0,
      value: each.number('value') ?? 0,
      valueTwo: each.number('valueTwo') ?? 0,
      op: each.text('op') ?? '',
    };
    each.end();
    return condition;
  });
}

/** Whether the sandbox may make the call as its own rule has it. A finding where the bundle allows less than that. */
function isAllowed(
  name: string,
  rule: CallRule,
  entries: readonly Entry[],
  byDefault: boolean,
  report: Report,
): boolean {
  const always = entries.filter(({ conditions }) => conditions.length === 0);
  if (always.length > 0) return always.every((one) => one.allows);
  // What the conditional entries say is what the default says anyway.
  const different = entries.filter((one) => one.allows !== byDefault);
  if (different.length === 0) return byDefault;
  if (!byDefault && (different.some((one) => covers(rule, one)) || coversEach(rule, different))) return true;
  report.error(
    different[0]!.path,
    `${name}: a sandbox gives it with other arguments, too; it cannot look at these conditions`,
  );
  return false;
}

/** Whether all that the sandbox's own rule lets pass is something that the entry lets pass. */
function covers(rule: CallRule, { conditions }: Entry): boolean {
  const [condition, ...others] = conditions;
  if (condition === undefined || others.length > 0) return false;
  if (rule === 'allow' || !('test' in rule) || rule.argument !== condition.index) return false;
  const { test } = rule;
  if (test.kind === 'one-of') return condition.op === 'SCMP_CMP_NE' && !test.values.includes(condition.value);
  if (test.kind !== 'no-bits-of' || condition.op !== 'SCMP_CMP_MASKED_EQ' || condition.valueTwo !== 0) return false;
  const value = condition.value;
  return Number.isSafeInteger(value) && value >= 0 && (BigInt(value) & ~BigInt(test.mask)) === 0n;
}

/** The same for values that stand in entries of their own, as those of personality(2) do in Docker's profile. */
function coversEach(rule: CallRule, entries: readonly Entry[]): boolean {
  if (rule === 'allow' || !('test' in rule) || rule.test.kind !== 'one-of') return false;
  const values = entries.flatMap(({ conditions: [condition, ...others] }) =>
    condition?.op === 'SCMP_CMP_EQ' && condition.index === rule.argument && others.length === 0
      ? [condition.value]
      : [],
  );
  return rule.test.values.every((value) => values.includes(value));
}
