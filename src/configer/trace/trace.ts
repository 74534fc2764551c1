/** Runs the program of a configuration once, in a sandbox that is thrown away, and tells what it has used. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { ComicranError } from '../../base/errors.ts';
import type { FullConfig } from '../../base/sandbox-config.ts';
import { startThrowAway } from './throw-away.ts';
import { Tracer, type Uses } from './tracer.ts';

export type TraceOptions = {
  /** The run is ended after so long. */
  readonly limitMs: number;
  /** Run by the shell in the network of the sandbox, again and again; when it succeeds the run is ended. */
  readonly probe?: string;
  /** Ends the run at once; what was seen up to then counts. */
  readonly signal?: AbortSignal;
};

export type Run = {
  readonly uses: Uses;
  /** What ended it. */
  readonly end: 'exit' | 'limit' | 'probe' | 'stopped';
};

const PROBE_PAUSE_MS = 200;

/** Nothing of it is left afterwards. @throws ComicranError sandbox.setup-failed, deadline: the probe has not succeeded. */
export async function traceRun(config: FullConfig, options: TraceOptions): Promise<Run> {
  const sandbox = await startThrowAway(config);
  const over = new AbortController();
  const finish = (by: Run['end']): void => {
    // The first reason stays.
    over.abort(by);
    sandbox.kill();
  };
  const stopped = (): void => finish('stopped');
  options.signal?.addEventListener('abort', stopped);
  try {
    const tracer = new Tracer(sandbox.pid, config.process.executable);
    const others = [
      setTimeout(options.limitMs, undefined, { signal: over.signal }).then(
        () => finish('limit'),
        () => {},
      ),
      ...(options.probe === undefined
        ? []
        : [probe(options.probe, sandbox.pid, over.signal).then((yes) => yes && finish('probe'))]),
    ];
    await tracer.follow(sandbox.go);
    over.abort('exit');
    await Promise.all(others);
    const end = over.signal.reason as Run['end'];
    if (!tracer.started) {
      throw new ComicranError('sandbox.setup-failed', `${config.process.executable} was not started for the trace`, {
        hint: 'What is said above tells why; the user of the process may not be able to reach it.',
      });
    }
    if (options.probe !== undefined && end !== 'probe' && end !== 'stopped') {
      throw new ComicranError(
        'deadline',
        `the probe did not succeed before ${end === 'exit' ? 'the program ended' : 'the time was over'}`,
        {
          hint: 'Give it more time with --time, or correct the probe or the configuration.',
        },
      );
    }
    return { uses: tracer.uses, end };
  } finally {
    options.signal?.removeEventListener('abort', stopped);
    over.abort();
    sandbox.kill();
    await sandbox.gone;
  }
}

/** @returns whether it has succeeded; false when `signal` ends it. */
async function probe(command: string, pid: number, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted) {
    const child: ChildProcess = spawn('nsenter', [`--net=/proc/${pid}/ns/net`, '--', '/bin/sh', '-c', command], {
      stdio: 'ignore',
    });
    const stop = (): void => void child.kill('SIGKILL');
    signal.addEventListener('abort', stop);
    const [code] = (await once(child, 'exit')) as [number | null];
    signal.removeEventListener('abort', stop);
    if (code === 0) return true;
    await setTimeout(PROBE_PAUSE_MS, undefined, { signal }).catch(() => {});
  }
  return false;
}
