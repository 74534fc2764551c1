/** What the lab's virtual machines are made from is what packaging/ gives to an operator's. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { commandOfUnit, HOME, modulesOfList } from './guest-root.ts';

const packaged = (file: string): string => readFileSync(join(HOME, 'packaging', file), 'utf8');

test('the command of the unit starts sdaemon, with variables that its environment file has', () => {
  const command = commandOfUnit(packaged('systemd/comicran-sdaemon.service'));
  assert.match(command, /^comicran sdaemon /);
  const variables = [...command.matchAll(/\$\{(\w+)\}/g)].map((found) => found[1]!);
  const given = [...packaged('sdaemon.env').matchAll(/^(\w+)=/gm)].map((found) => found[1]!);
  assert.deepEqual(variables.toSorted(), given.toSorted());
  assert.throws(() => commandOfUnit('[Service]\n'));
});

test('a list of modules is read without its comments', () => {
  assert.deepEqual(modulesOfList('# links\nveth\n\n; no\ntun\n'), ['veth', 'tun']);
  assert.ok(modulesOfList(packaged('modules-load.d/comicran.conf')).includes('nf_tables'));
});
