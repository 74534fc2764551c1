/** The closure of the machine's own programs is what the dynamic loader says it is. Runs ldd on them, nothing else. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { closureOf } from '../../src/configer/closure.ts';
import { Declared } from '../../src/configer/declared.ts';
import { isElf } from '../../src/configer/elf.ts';
import { withFile } from '../../src/configer/host-files.ts';
import { hostLoaderFacts } from '../../src/configer/loader-facts.ts';
import { needs } from '../support/needs.ts';

const run = promisify(execFile);
const SAMPLE = 160;

function programs(): string[] {
  const all = ['/usr/bin', '/usr/sbin', '/usr/libexec', '/usr/lib/git-core'].flatMap((directory) =>
    existsSync(directory) ? readdirSync(directory).map((name) => join(directory, name)) : [],
  );
  const elf = all.filter((path) => {
    const stats = statSync(path, { throwIfNoEntry: false });
    return stats?.isFile() === true && withFile(path, [path], (readAt) => isElf(readAt(0, 4)));
  });
  // Spread over the directories, so that it is not a hundred programs of one package.
  const step = Math.max(1, Math.floor(elf.length / SAMPLE));
  return elf.filter((_, index) => index % step === 0);
}

/** Library paths that ldd prints; undefined for a static program. */
async function byLdd(path: string): Promise<string[] | undefined> {
  try {
    const { stdout } = await run('ldd', [path], { env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' } });
    if (stdout.includes('statically linked')) return undefined;
    return stdout
      .split('\n')
      .flatMap((line) => /(?:=> |^\s+)(\/\S+) \(0x/.exec(line)?.[1] ?? [])
      .toSorted();
  } catch (thrown) {
    assert.match(`${(thrown as { stderr?: string }).stderr}`, /not a dynamic executable/, path);
    return undefined;
  }
}

test('the libraries of the programs of this machine are those that ldd names', { skip: needs('ldd') }, async (t) => {
  const context = { declared: new Declared(new Map(), new Map()), facts: hostLoaderFacts(), environment: {} };
  const sample = programs();
  assert.ok(sample.length >= 100, `only ${sample.length} programs on this machine`);
  const queue = [...sample];
  let withOrigin = 0;
  let withLibraries = 0;
  const compare = async (): Promise<void> => {
    for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
      // ldd takes $ORIGIN from the path that it is given, the kernel from where the links lead to.
      const expected = await byLdd(realpathSync(path));
      const closure = closureOf(
        { host: path, inside: path },
        { chain: [path], rule: 'configuration', by: 'x' },
        context,
      );
      const found = closure.found.slice(1).map(({ place }) => place.host);
      assert.deepEqual([...new Set(found)].toSorted(), expected ?? [], path);
      assert.deepEqual(found.length, new Set(found).size, `${path}: a file twice`);
      if (found.length > 2) withLibraries++;
      if (found.some((file) => file.includes('/../'))) withOrigin++;
    }
  };
  await Promise.all([compare(), compare()]);
  t.diagnostic(`${sample.length} programs, ${withLibraries} of them with libraries, ${withOrigin} by $ORIGIN`);
});
