/** Ports that work on the kernel's network: a call that it refuses is told as the thing, the cause and the next step. */
import { ComicranError, type ErrorCode } from '../../base/errors.ts';
import { KernelError } from '../../linux/errno.ts';

/** What could not be done, by the name of the port's function: ports.ts. */
const STEPS: Readonly<Record<string, string>> = {
  begin: 'its migration cannot be begun',
  hold: 'the packets that come for it cannot be held',
  inject: 'a datagram that was sent to it cannot be given to it',
  release: 'what is held cannot be let go',
  discard: 'what is held cannot be thrown away',
  drain: 'what waits in its sockets cannot be carried over',
  check: 'its sockets cannot be looked at',
  start: 'its traffic cannot be watched',
  read: 'its traffic cannot be watched any more',
  prepareCut: 'it cannot be cut off from the network',
  cut: 'it cannot be cut off from the network',
  uncut: 'its way to the network cannot be opened again',
  finish: 'the end of its traffic cannot be found',
  shut: 'its copy cannot be kept silent',
  play: 'its copy cannot be fed',
  step: 'its copy cannot be fed',
  open: 'its copy cannot be let speak',
};

type Explanation = { readonly code: ErrorCode; readonly hint: string };

const GONE: Explanation = {
  code: 'sandbox.not-running',
  hint: "Its link or its process is gone there: see 'comicran smanager ps' and the log of the sandbox, then try again.",
};
const FORBIDDEN: Explanation = {
  code: 'migration.failed',
  hint: 'Something keeps the daemon there from it: it needs root, and no security module in its way.',
};
const FULL: Explanation = {
  code: 'migration.failed',
  hint: 'The kernel there has no room for it: free memory there, or try again when that machine has less to do.',
};
const OTHER: Explanation = {
  code: 'migration.failed',
  hint: "This is what the kernel there answered; its log ('dmesg') and the daemon's may say more. Try again, or choose another mode.",
};
const BY_ERROR: Readonly<Record<string, Explanation>> = {
  ...{ ENODEV: GONE, ENXIO: GONE, ENETDOWN: GONE, ESRCH: GONE, ENOENT: GONE },
  ...{ EPERM: FORBIDDEN, EACCES: FORBIDDEN },
  ...{ ENOMEM: FULL, ENOBUFS: FULL, EMFILE: FULL, ENFILE: FULL },
};

/** What was thrown before the first step. */
export const explainBeginning = (sandbox: string, vm: string, thrown: unknown): unknown =>
  thrown instanceof KernelError ? explainRefusal(sandbox, vm, 'begin', thrown) : thrown;

/** @param step a function of a port */
function explainRefusal(sandbox: string, vm: string, step: string, cause: KernelError): ComicranError {
  const { code, hint } = BY_ERROR[cause.code] ?? OTHER;
  const what = STEPS[step] ?? `'${step}' cannot be done`;
  return new ComicranError(code, `'${sandbox}': ${what} at ${vm}: ${cause.message}`, { cause, hint });
}

/** The port, with its refusals explained. What is no function is as it was. */
export function explained<Port extends object>(port: Port, sandbox: string, vm: string): Port {
  const known = new Map<string, (...args: unknown[]) => unknown>();
  return new Proxy(port, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function' || typeof key !== 'string') return value;
      let call = known.get(key);
      if (call === undefined) {
        const refused = (thrown: unknown): never => {
          throw thrown instanceof KernelError ? explainRefusal(sandbox, vm, key, thrown) : thrown;
        };
        call = (...args) => {
          try {
            const result: unknown = value.apply(target, args);
            return result instanceof Promise ? result.catch(refused) : result;
          } catch (thrown) {
            return refused(thrown);
          }
        };
        known.set(key, call);
      }
      return call;
    },
  });
}
