import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ComicranError } from '../base/errors.ts';
import type { SourceMessage } from './messages.ts';
import { PAGE_BYTES } from './page-range.ts';
import { PageServer } from './page-server.ts';

type Sent = { readonly type: string; readonly pages?: readonly number[] };

function server(fails = false): { server: PageServer; sent: Sent[]; served: { faulted: number; filled: number } } {
  const sent: Sent[] = [];
  const served = { faulted: 0, filled: 0 };
  const reader = {
    read: (runs: readonly { page: number; count: number }[], into: Uint8Array) => {
      if (fails) throw new ComicranError('process.gone', 'it has ended');
      let at = 0;
      for (const { page, count } of runs)
        for (let index = 0; index < count; index++, at += PAGE_BYTES) into[at] = page + index;
    },
    close: () => undefined,
  };
  const send = (message: SourceMessage): void => {
    if (message.type !== 'PAGES') sent.push({ type: message.type });
    else {
      const pages = Array.from(
        { length: message.bytes.length / PAGE_BYTES },
        (_, at) => message.bytes[at * PAGE_BYTES]!,
      );
      sent.push({ type: 'PAGES', pages });
    }
  };
  const done = (): void => void sent.push({ type: 'done' });
  return { server: new PageServer(reader, served, { send, done, version: 1 }), sent, served };
}

const runs = [
  { page: 7, count: 1 },
  { page: 8, count: 2 },
  { page: 5, count: 2 },
];

test('the page that somebody waits for comes by itself, the others behind it, unless they are few', () => {
  const { server: faults, sent, served } = server();
  faults.take({ type: 'OPEN', version: 1, purpose: 'faults' });
  faults.take({ type: 'WANT', runs });
  faults.take({ type: 'WANT', runs: [{ page: 1, count: 1 }] });
  faults.take({ type: 'WANT', runs: runs.slice(0, 2) });
  faults.take({ type: 'DONE' });
  assert.deepEqual(sent, [
    { type: 'OPENED' },
    { type: 'PAGES', pages: [7] },
    { type: 'PAGES', pages: [8, 9, 5, 6] },
    { type: 'PAGES', pages: [1] },
    { type: 'PAGES', pages: [7, 8, 9] },
    { type: 'done' },
  ]);
  assert.deepEqual(served, { faulted: 9, filled: 0 });
});

test('the fill comes as it was asked for', () => {
  const { server: fill, sent, served } = server();
  fill.take({ type: 'OPEN', version: 1, purpose: 'fill' });
  fill.take({ type: 'WANT', runs });
  assert.deepEqual(sent.at(-1), { type: 'PAGES', pages: [7, 8, 9, 5, 6] });
  assert.deepEqual(served, { faulted: 0, filled: 5 });
});

test('who asks out of order is refused; where nothing can be read the destination is told', () => {
  const refused = (error: unknown): boolean => error instanceof ComicranError && error.code === 'peer.protocol';
  assert.throws(() => server().server.take({ type: 'WANT', runs }), refused);
  const { server: gone, sent } = server(true);
  gone.take({ type: 'OPEN', version: 1, purpose: 'fill' });
  assert.throws(() => gone.take({ type: 'OPEN', version: 1, purpose: 'fill' }), refused);
  assert.throws(() => gone.take({ type: 'WANT', runs }), /it has ended/);
  assert.deepEqual(sent, [{ type: 'OPENED' }, { type: 'REFUSED' }]);
});
