/**
 * Named places at which a test can make a migration fail, in the real daemon: every call of a port, before and after.
 *
 *     source.process.freeze:after=kill        the daemon ends as by kill -9 when the process has been frozen
 *     destination.ownership.take:before=fail  the call fails instead
 *     source.traffic.cut:before=stop          the daemon stands still (SIGSTOP) until somebody lets it go on
 *     source.process.stop:after=end           the process that is moved ends as by kill -9, and the migration goes on
 *
 * A daemon has at most one, from the environment variable COMICRAN_FAULT, and it strikes once. In production there is none.
 * `@FILE` names a file instead: each migration looks there for one when it begins, and the file goes when it strikes.
 */
import { readFileSync, rmSync } from 'node:fs';
import { ComicranError } from '../../base/errors.ts';
import { stopOwnProcess } from '../../linux/stop-self.ts';

export type FaultAction = 'kill' | 'fail' | 'stop' | 'end';
export type Fault = { readonly point: string; readonly action: FaultAction };
/** Where a daemon has its fault from. */
export type FaultSource = Fault | { readonly file: string };

const FORM = /^((?:source|destination)\.[a-z]+\.[a-zA-Z]+:(?:before|after))=(kill|fail|stop|end)$/;

/** @throws ComicranError usage */
export function parseFault(text: string): Fault {
  const match = FORM.exec(text);
  if (match === null) {
    throw new ComicranError('usage', `COMICRAN_FAULT is '${text}'`, {
      hint: 'It is for tests: SIDE.PORT.CALL:before|after=kill|fail|stop|end, or @FILE. Unset it.',
    });
  }
  return { point: match[1]!, action: match[2] as FaultAction };
}

/** @throws ComicranError usage */
export function parseFaultSource(text: string): FaultSource {
  return text.startsWith('@') ? { file: text.slice(1) } : parseFault(text);
}

/** Undefined: there is no such file, or nothing in it. */
function faultInFile(file: string): Fault | undefined {
  try {
    const text = readFileSync(file, 'utf8').trim();
    return text === '' ? undefined : parseFault(text);
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return undefined;
    throw thrown;
  }
}

/** Strikes when its point is reached. */
export class FaultTrigger {
  readonly #file: string | undefined;
  #fault: Fault | undefined;
  #pid: number | undefined;

  constructor(source: FaultSource | undefined) {
    if (source !== undefined && 'file' in source) this.#file = source.file;
    else this.#fault = source;
  }

  /** A migration begins: looks into the file, where there is one. */
  load(): void {
    if (this.#file !== undefined) this.#fault = faultInFile(this.#file);
  }

  get armed(): boolean {
    return this.#fault !== undefined;
  }

  /** The process that is moved, as this machine sees it. */
  aimAt(pid: number): void {
    this.#pid = pid;
  }

  reach(point: string): void {
    const fault = this.#fault;
    if (fault?.point !== point) return;
    this.#fault = undefined;
    if (this.#file !== undefined) rmSync(this.#file, { force: true });
    if (fault.action === 'end') {
      if (this.#pid !== undefined) process.kill(this.#pid, 'SIGKILL');
      return;
    }
    if (fault.action === 'kill') process.kill(process.pid, 'SIGKILL');
    if (fault.action === 'fail') throw new ComicranError('migration.failed', `a test made ${point} fail`);
    stopOwnProcess();
  }
}

/** What a call returns may be a port of its own, under this name. */
const RESULT_NAMES: Readonly<Record<string, string>> = {
  freeze: 'frozen',
  snapshot: 'snapshot',
  begin: 'restoring',
  connect: 'channel',
  accept: 'channel',
};

/** Ports that are a part of another one. */
const PART_NAMES: ReadonlySet<string> = new Set(['stopped']);

function wrap<T extends object>(target: T, side: string, name: string, trigger: FaultTrigger): T {
  return new Proxy(target, {
    get(object, key) {
      const value: unknown = Reflect.get(object, key, object);
      if (typeof key !== 'string') return value;
      if (PART_NAMES.has(key) && typeof value === 'object' && value !== null) return wrap(value, side, key, trigger);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]): unknown => {
        const point = `${side}.${name}.${key}`;
        trigger.reach(`${point}:before`);
        const result: unknown = value.apply(object, args);
        const done = (settled: unknown): unknown => {
          trigger.reach(`${point}:after`);
          const inner = RESULT_NAMES[key];
          return inner !== undefined && typeof settled === 'object' && settled !== null
            ? wrap(settled, side, inner, trigger)
            : settled;
        };
        return result instanceof Promise ? result.then(done) : done(result);
      };
    },
  });
}

/** The ports of a role, with the fault in them; the same ports where there is none. */
export function withFaults<Ports extends object>(
  ports: Ports,
  side: 'source' | 'destination',
  trigger: FaultTrigger,
): Ports {
  if (!trigger.armed) return ports;
  const wrapped = Object.entries(ports).map(([name, port]: [string, unknown]) => {
    if (typeof port === 'function') return [name, wrap({ [name]: port }, side, 'peer', trigger)[name]] as const;
    return [name, typeof port === 'object' && port !== null ? wrap(port, side, name, trigger) : port] as const;
  });
  return Object.fromEntries(wrapped) as Ports;
}
