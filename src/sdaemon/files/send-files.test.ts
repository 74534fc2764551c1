/** A file on its way that is not, or no longer, what the configuration says; the destination is a fake that keeps what comes. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Client } from '@connectrpc/connect';
import type { Sdaemon } from '../../api/gen/comicran_pb.ts';
import { ComicranError } from '../../base/errors.ts';
import type { FullConfig } from '../../base/sandbox-config.ts';
import { sendLackingFiles } from './send-files.ts';

const CONTENTS = Buffer.alloc(5 * 2 ** 20, 'as it was configured ');

type Part = { readonly offset: bigint; readonly last: boolean; readonly part: Uint8Array };

type Kit = {
  readonly source: string;
  /** What the destination has of the file, as far as it came in order; nothing where it has forgotten it. */
  readonly arrived: () => number;
  readonly send: (atPart?: (index: number) => void, signal?: AbortSignal) => Promise<unknown>;
};

async function withFile(use: (kit: Kit) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-send-'));
  const source = join(directory, 'file');
  writeFileSync(source, CONTENTS);
  const sha256 = createHash('sha256').update(CONTENTS).digest('hex');
  const files = [{ path: '/srv/file', source, sha256, size: CONTENTS.length, mode: 0o644 }];
  let parts: Part[] = [];
  const send: Kit['send'] = (atPart = () => undefined, signal = new AbortController().signal) => {
    const destination = {
      lackingFiles: async () => ({ lacking: [0], copiedBytes: 0n }),
      putFilePart: async (part: Part) => {
        const next = parts.reduce((sum, one) => sum + one.part.length, 0);
        if (part.offset !== BigInt(next)) {
          parts = [];
          throw new ComicranError('peer.protocol', 'out of order');
        }
        parts.push({ ...part, part: Buffer.from(part.part) });
        atPart(parts.length);
      },
    } as unknown as Client<typeof Sdaemon>;
    const config = { id: 'box', files } as unknown as FullConfig;
    return sendLackingFiles({ vm: 'vm1', stateDirectory: directory }, destination, config, signal);
  };
  try {
    await use({ source, send, arrived: () => parts.reduce((sum, { part }) => sum + part.length, 0) });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const refusal = (code: string, message: RegExp) => (thrown: unknown) => {
  assert.ok(thrown instanceof ComicranError, String(thrown));
  assert.equal(thrown.code, code);
  assert.match(thrown.message, message);
  assert.match(thrown.message, /^the file \/srv\/file, which the destination lacks, cannot be sent: /);
  assert.match(thrown.hint ?? '', /migrate again/);
  return true;
};

test('it comes whole, in order', () =>
  withFile(async ({ send, arrived }) => {
    assert.deepEqual(await send(), { sentFiles: 1, sentBytes: CONTENTS.length, copiedBytes: 0 });
    assert.equal(arrived(), CONTENTS.length);
  }));

test('it has vanished, or is none', () =>
  withFile(async ({ source, send, arrived }) => {
    rmSync(source);
    await assert.rejects(send(), refusal('config.missing-file', /ENOENT/));
    mkdirSync(source);
    await assert.rejects(send(), refusal('config.missing-file', /EISDIR/));
    assert.equal(arrived(), 0);
  }));

test('it has other contents of the same length, or becomes shorter or other under way: nothing of it stays', () =>
  withFile(async ({ source, send, arrived }) => {
    const other = Buffer.from(CONTENTS);
    other[other.length - 1] = 0;
    writeFileSync(source, other);
    await assert.rejects(send(), refusal('config.changed-file', /sha256 is [0-9a-f]{64}, not [0-9a-f]{64}$/));
    assert.equal(arrived(), 0);
    writeFileSync(source, CONTENTS);
    await assert.rejects(
      send((index) => (index === 1 ? truncateSync(source, 3 * 2 ** 20) : undefined)),
      refusal('config.changed-file', /it has 3145728 bytes, not 5242880$/),
    );
    assert.equal(arrived(), 0);
    writeFileSync(source, CONTENTS);
    await assert.rejects(
      send((index) => (index === 1 ? writeFileSync(source, other) : undefined)),
      refusal('config.changed-file', /sha256 is/),
    );
    assert.equal(arrived(), 0);
  }));

test('an abort under way leaves nothing either', () =>
  withFile(async ({ send, arrived }) => {
    const abort = new AbortController();
    await assert.rejects(
      send(() => abort.abort(), abort.signal),
      (thrown) => thrown instanceof ComicranError && thrown.code === 'aborted',
    );
    assert.equal(arrived(), 0);
  }));
