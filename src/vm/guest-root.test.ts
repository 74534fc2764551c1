/** What the lab's virtual machines are made from is what packaging/ gives to an operator's. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseNodeCommand } from '../configer/node/command-line.ts';
import { commandOfUnit, HOME, modulesOfList, nodeWords, PROGRAMS } from './guest-root.ts';

const packaged = (file: string): string => readFileSync(join(HOME, 'packaging', file), 'utf8');

test('the command of a unit starts its daemon, with variables that its environment file has', () => {
  for (const program of PROGRAMS) {
    const command = commandOfUnit(packaged(`systemd/comicran-${program}.service`));
    assert.ok(command.startsWith(`comicran ${program} `), command);
    const variables = [...command.matchAll(/\$\{(\w+)\}/g)].map((found) => found[1]!);
    const given = [...packaged(`${program}.env`).matchAll(/^(\w+)=/gm)].map((found) => found[1]!);
    assert.deepEqual(variables.toSorted(), given.toSorted());
  }
  assert.throws(() => commandOfUnit('[Service]\n'));
});

test('a list of modules is read without its comments', () => {
  assert.deepEqual(modulesOfList('# links\nveth\n\n; no\ntun\n'), ['veth', 'tun']);
  assert.ok(modulesOfList(packaged('modules-load.d/comicran.conf')).includes('nf_tables'));
});

test('what the bundle that starts sandboxes loads is looked for as well, where there is one', () => {
  const dist = mkdtempSync(join(tmpdir(), 'comicran-guest-'));
  try {
    assert.deepEqual(nodeWords(dist), [join(dist, 'cli/main.js')]);
    mkdirSync(join(dist, 'cli'));
    writeFileSync(join(dist, 'cli/jailor-run.cjs'), '');
    const { script, required } = parseNodeCommand(nodeWords(dist), undefined);
    assert.equal(script, join(dist, 'cli/main.js'));
    assert.deepEqual(required, [join(dist, 'cli/jailor-run.cjs')]);
  } finally {
    rmSync(dist, { recursive: true, force: true });
  }
});
