import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProcessImage } from '../../image/types.ts';
import { Registers } from '../../linux/registers.ts';
import type { PagingClient, PagingOptions } from '../paging/paging.ts';
import { FetchedProcess } from './paged-destination.ts';
import type { PagingFiles } from './paging-note.ts';

test('memory that comes later begins with what the registers of the process point at', async () => {
  const registers = new Registers();
  registers.set('rsp', 0x200ff8n);
  const image = {
    memory: { areas: [], fields: { startBrk: 0n, brk: 0n } },
    threads: [{ registers: registers.bytes }],
  } as unknown as ProcessImage;
  const asked: PagingOptions[] = [];
  const noted: unknown[] = [];
  const fetched = new FetchedProcess({
    ...{ stateDirectory: '/nowhere', sandbox: 'square', note: () => undefined },
    files: { missing: 'missing', write: (note: unknown) => noted.push(note) } as unknown as PagingFiles,
    client: {
      startPaging: async (options: PagingOptions) => {
        asked.push(options);
        return {};
      },
    } as unknown as PagingClient,
    keeper: { keep: async () => undefined, drop: async () => undefined },
    pid: () => 7,
    process: () => ({ image, takeUserfault: () => 5 }),
  });
  await fetched.start([{ start: 0x200000n, length: 0x2000 }], {
    ...{ address: new Uint8Array([127, 0, 0, 1]), port: 9, key: new Uint8Array(32) },
  });
  const [options] = asked;
  assert.deepEqual([options?.pid, options?.userfault, options?.fillsLater], [7, 5, true]);
  assert.deepEqual(options?.service?.likely, [{ page: 0x1fc, count: 16 }]);
  assert.deepEqual(noted, [{ pages: { address: '127.0.0.1', port: 9, key: new Uint8Array(32) } }]);
});
