/** A server that is asked all the time while something is done to it. */
import assert from 'node:assert/strict';
import { Load } from '../../src/lab/demo/load.ts';
import { find } from './lab.ts';

/** Longer than anything that is done. */
const SECONDS = 240;

/**
 * @returns what `use` does.
 * @throws where a request of a load that lasts as long as `use` is lost, answered twice or wrongly, or processed twice
 */
export async function underLoad<T>(name: string, rate: number, use: () => Promise<T>): Promise<T> {
  const service = (await find(name))?.service;
  assert.ok(service, `'${name}' has no service`);
  const load = new Load({ service, rate, seconds: SECONDS });
  let result: T;
  try {
    await load.begun;
    result = await use();
  } catch (thrown) {
    await load.end().catch(() => undefined);
    throw thrown;
  }
  const { lost, duplicated, wrong, exactlyOnce } = await load.end();
  assert.deepEqual({ lost, duplicated, wrong, exactlyOnce }, { lost: 0, duplicated: 0, wrong: 0, exactlyOnce: true });
  return result;
}
