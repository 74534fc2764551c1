import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProcessImage } from '../image/types.ts';
import { Registers } from '../linux/registers.ts';
import { likelyPages } from './likely-pages.ts';

test('around what registers point at, each place once, then the heap', () => {
  const thread = (values: Partial<Record<'rsp' | 'rdi' | 'rax', bigint>>): { registers: Buffer } => {
    const registers = new Registers();
    for (const [name, value] of Object.entries(values)) registers.set(name as 'rsp', value);
    return { registers: registers.bytes };
  };
  const image = {
    memory: { areas: [], fields: { startBrk: 0x400000n, brk: 0x402800n } },
    threads: [
      thread({ rsp: 0x200ff8n, rdi: 0x200010n, rax: 7n }),
      thread({ rsp: 0x2ff000n, rdi: 0xffff_ffff_ffff_fff0n }),
    ],
  } as unknown as ProcessImage;
  assert.deepEqual(likelyPages(image), [
    { page: 0x1fc, count: 16 },
    { page: 0x2fb, count: 16 },
    { page: 0x400, count: 3 },
  ]);
});
