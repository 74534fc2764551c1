/** Groups of version 2 and the parent that all of them have, in a tree of the test's own. Needs root. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  type Cgroup,
  type CgroupTree,
  cgroupNamed,
  findCgroupTrees,
  makeCgroup,
  removeCgroup,
} from '../../src/linux/cgroup.ts';
import { switchOn } from '../../src/linux/cgroup-limits.ts';
import { needs } from '../support/needs.ts';

describe('groups of version 2', { skip: needs('root') }, () => {
  let tree: CgroupTree;
  const group = (name: string): Cgroup => cgroupNamed(name, [tree])!;

  before(() => {
    const real = findCgroupTrees().find(({ version }) => version === 2);
    assert.ok(real, 'a machine with cgroup2 mounted');
    tree = { ...real, mountPoint: join(real.mountPoint, `comicran-test-${process.pid}`) };
    mkdirSync(tree.mountPoint);
  });
  after(() => rmdirSync(tree.mountPoint));

  test('their parent is there as long as one of them is', async () => {
    const [one, other] = [group('one'), group('other')];
    const parent = dirname(one.paths[0]!);
    makeCgroup(one);
    makeCgroup(other);
    assert.throws(() => makeCgroup(one), { code: 'EEXIST' });
    await removeCgroup(one, 1000);
    assert.deepEqual([existsSync(one.paths[0]!), existsSync(parent)], [false, true]);
    await removeCgroup(other, 1000);
    await removeCgroup(other, 1000);
    assert.equal(existsSync(parent), false);
  });

  test('made and removed by several at once, none is missing and nothing stays', async () => {
    const names = Array.from({ length: 200 }, (_, at) => `group-${at}`);
    await Promise.all(
      names.map(async (name) => {
        makeCgroup(group(name));
        await Promise.resolve();
        assert.ok(existsSync(group(name).paths[0]!));
        await removeCgroup(group(name), 1000);
      }),
    );
    assert.equal(existsSync(dirname(group('any').paths[0]!)), false);
  });

  test('a controller that is switched on for one cannot be switched off above, as systemd would', async () => {
    const real = dirname(tree.mountPoint);
    const words = (directory: string, file: string): string[] =>
      readFileSync(join(directory, file), 'latin1').split(/\s+/).filter(Boolean);
    const write = (directory: string, text: string): void =>
      writeFileSync(join(directory, 'cgroup.subtree_control'), text);
    const wasOn = words(real, 'cgroup.subtree_control');
    // Where version 1 has the usual ones, hugetlb is left.
    const controller = words(real, 'cgroup.controllers').find((each) => each !== 'cpuset');
    assert.ok(controller, 'a controller in the version 2 tree');
    if (!wasOn.includes(controller)) write(real, `+${controller}`);
    const one = group('one');
    try {
      makeCgroup(one);
      assert.equal(switchOn(tree, 'nonsense', 'one'), false);
      assert.equal(switchOn(tree, controller, 'one'), true);
      assert.throws(() => write(tree.mountPoint, `-${controller}`), { code: 'EBUSY' });
      assert.ok(words(one.paths[0]!, 'cgroup.controllers').includes(controller));
    } finally {
      await removeCgroup(one, 1000);
      write(tree.mountPoint, `-${controller}`);
      if (!wasOn.includes(controller)) write(real, `-${controller}`);
    }
  });
});
