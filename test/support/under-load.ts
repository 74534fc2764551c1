/** A server that is asked all the time while something is done to it. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { Load } from '../../src/lab/demo/load.ts';
import { find } from './lab.ts';

/** Longer than anything that is done. */
const SECONDS = 240;

/**
 * Asks a sandbox all the time while `use` does something, which may cost requests.
 * @param marginMs it is asked for so much longer. @returns what its clients saw
 */
export async function reportUnderLoad(
  name: string,
  rate: number,
  use: () => Promise<unknown>,
  { marginMs = 0 } = {},
): ReturnType<Load['end']> {
  const service = (await find(name))?.service;
  assert.ok(service, `'${name}' has no service`);
  const load = new Load({ service, rate, seconds: SECONDS });
  try {
    await load.begun;
    await use();
    if (marginMs > 0) await sleep(marginMs);
  } catch (thrown) {
    await load.end().catch(() => undefined);
    throw thrown;
  }
  return load.end();
}

/**
 * @returns what `use` does.
 * @throws where a request of a load that lasts as long as `use` is lost, answered twice or wrongly, or processed twice
 */
export async function underLoad<T>(name: string, rate: number, use: () => Promise<T>): Promise<T> {
  let result: { readonly value: T } | undefined;
  const { lost, duplicated, wrong, exactlyOnce } = await reportUnderLoad(name, rate, async () => {
    result = { value: await use() };
  });
  assert.deepEqual({ lost, duplicated, wrong, exactlyOnce }, { lost: 0, duplicated: 0, wrong: 0, exactlyOnce: true });
  return result!.value;
}
