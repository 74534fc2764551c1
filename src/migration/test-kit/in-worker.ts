/**
 * Tests whose work is done in a worker thread: node:test watches every promise of the thread that it runs in, which costs a
 * simulation of millions of them several times its own time.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test as nodeTest } from 'node:test';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';

type Body = () => void | Promise<void>;
/** A failure as text: an error's own class and fields do not cross between threads. */
type Verdict = { readonly failure?: string };

/** The side that is told what to run. Tests that are registered late (behind a top-level await) are waited for. */
function register(): (name: string, body: Body) => void {
  const bodies = new Map<string, PromiseWithResolvers<Body>>();
  const bodyOf = (name: string): PromiseWithResolvers<Body> => {
    const known = bodies.get(name) ?? Promise.withResolvers<Body>();
    bodies.set(name, known);
    return known;
  };
  parentPort!.on('message', async (name: string) => {
    const verdict: Verdict = await bodyOf(name)
      .promise.then((body) => body())
      .then(
        () => ({}),
        (thrown: unknown) => ({ failure: inspect(thrown) }),
      );
    parentPort!.postMessage(verdict);
  });
  return (name, body) => bodyOf(name).resolve(body);
}

/** The side that asks, a test at a time, as node:test has it. */
class Runner {
  readonly #worker: Worker;

  constructor(url: string) {
    this.#worker = new Worker(fileURLToPath(url));
    this.#worker.unref();
  }

  async run(name: string): Promise<void> {
    const over = new AbortController();
    this.#worker.ref();
    try {
      const answered = once(this.#worker, 'message', over);
      const ended = once(this.#worker, 'exit', over).then(() => assert.fail('the worker has ended'));
      ended.catch(() => undefined);
      this.#worker.postMessage(name);
      const [{ failure }] = (await Promise.race([answered, ended])) as [Verdict];
      if (failure !== undefined) throw new Error(failure);
    } finally {
      over.abort();
      this.#worker.unref();
    }
  }
}

/** @param url of the test file (`import.meta.url`). @returns what takes the place of node:test's `test`; names are unique */
export function testsInWorker(url: string): (name: string, body: Body) => void {
  if (!isMainThread) return register();
  const runner = new Runner(url);
  return (name) => void nodeTest(name, () => runner.run(name));
}
