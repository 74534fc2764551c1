import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ComicranError } from './errors.ts';
import { labManagerFile, labPlace } from './lab-place.ts';

describe('the place of a lab', () => {
  it('is the default one where nothing is said', () => {
    for (const name of [undefined, '', 'cr'])
      assert.deepEqual(labPlace(name), {
        ...{ prefix: 'cr', directory: '/var/lib/comicran/lab', runDirectory: '/run/comicran' },
      });
  });

  it('shares nothing with that of another name', () => {
    const [a, b] = [labPlace('a'), labPlace('b')];
    for (const key of ['prefix', 'directory', 'runDirectory'] as const) assert.notEqual(a[key], b[key]);
    assert.equal(labManagerFile(a), '/run/comicran/a/lab-manager.json');
  });

  it('refuses what would be a path, or too long', () => {
    for (const name of ['../x', 'A', 'a-b', 'abcdefghi', '1a', 'a b'])
      assert.throws(
        () => labPlace(name),
        (thrown) => thrown instanceof ComicranError && thrown.code === 'config.invalid',
      );
  });
});
