import assert from 'node:assert/strict';
import { test } from 'node:test';
import { neighboursOf } from './offset.ts';

test('what keeps its place keeps its neighbours', () => {
  assert.equal(neighboursOf({ host: '/a/b', inside: '/a/b' })('/x/y'), '/x/y');
});

test('neighbours keep their place relative to what was moved, and stay below the root', () => {
  const of = neighboursOf({ host: '/home/me/app/dist/server/main.js', inside: '/srv/server/main.js' });
  assert.equal(of('/home/me/app/dist/server/sub/x.js'), '/srv/server/sub/x.js');
  assert.equal(of('/home/me/app/dist/other.js'), '/srv/other.js');
  assert.equal(of('/home/me/app/node_modules/ws/index.js'), '/node_modules/ws/index.js');
  assert.equal(of('/opt/lib.js'), '/opt/lib.js');
});

test('a file at the root has its neighbours at the root', () => {
  assert.equal(neighboursOf({ host: '/home/me/server.py', inside: '/server.py' })('/home/me/lib/x.py'), '/lib/x.py');
});
