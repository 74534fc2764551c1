import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ConnectRouter } from '@connectrpc/connect';
import { Sdaemon, Sdn } from '../../src/api/gen/comicran_pb.ts';
import { initPki } from '../../src/api/pki.ts';
import { ComicranError } from '../../src/base/errors.ts';

/** A directory of certificates for vm1, vm2, sdn and smanager. The caller removes it. */
export async function makePki(vms: readonly string[] = ['vm1', 'vm2']): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-pki-'));
  await initPki({ directory, vms });
  return directory;
}

export function removeDirectory(directory: string): void {
  rmSync(directory, { recursive: true, force: true });
}

/** The code and message of what a promise is rejected with. */
export async function failureOf(promise: Promise<unknown>): Promise<{ code: string; message: string; hint?: string }> {
  try {
    await promise;
  } catch (thrown) {
    if (!(thrown instanceof ComicranError)) throw thrown;
    return { code: thrown.code, message: thrown.message, ...(thrown.hint === undefined ? {} : { hint: thrown.hint }) };
  }
  throw new Error('it did not fail');
}

/** Handlers that behave by the name they are asked for. */
export function testRoutes(router: ConnectRouter): void {
  router.service(Sdn, {
    locate: async ({ sandbox }, context) => {
      if (sandbox === 'known') return { location: { sandbox, vm: 'vm1', epoch: 7n } };
      if (sandbox === 'bug') throw new TypeError('secret detail');
      if (sandbox === 'slow') {
        await new Promise((resolve) => setTimeout(resolve, 300));
        return {};
      }
      if (sandbox === 'stuck') {
        await new Promise((resolve) => context.signal.addEventListener('abort', resolve));
        return {};
      }
      throw new ComicranError('sandbox.unknown', `there is no sandbox '${sandbox}'`, {
        hint: 'Look at the list.',
        cause: new Error('outer', { cause: new Error('inner') }),
      });
    },
  });
  router.service(Sdaemon, {
    info: (_request, context) => ({ vm: context.requestHeader.get('x-test') ?? '' }),
    async *logs({ name, tail }, context) {
      for (let line = 0; line < tail; line++) yield { text: `${name} ${line}` };
      if (name === 'failing') throw new ComicranError('sandbox.not-running', 'it has ended', { hint: 'Start it.' });
      if (name === 'endless') {
        await new Promise((resolve) => context.signal.addEventListener('abort', resolve, { once: true }));
      }
    },
  });
}
