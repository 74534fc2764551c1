/** What the programs say of themselves, and of what is wrong, as a user types it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';

const HOME = join(import.meta.dirname, '..', '..');
const comicran = (...words: string[]) => spawnSync(join(HOME, 'bin/comicran'), words, { encoding: 'utf8' });

test("'help VERB' says what 'VERB --help' says, and one that there is not is an error", () => {
  const help = comicran('help', 'configer');
  assert.equal(help.status, 0);
  assert.match(help.stdout, /Commands:\n {2}resolve/);
  assert.equal(comicran('help', 'configer', 'tree').stdout, comicran('configer', 'tree', '--help').stdout);
  const unknown = comicran('help', 'cnfiger');
  assert.equal(unknown.status, 1);
  assert.match(
    unknown.stderr,
    /^comicran: 'cnfiger' is not a command of comicran\n {2}next: Did you mean 'configer'\?/,
  );
});

test('help names no option that only daemons use', () => {
  assert.doesNotMatch(comicran('jailor', 'run', '--help').stdout, /--(background|skeleton|hatchery-pid|outcome-fd)/);
});

test('a server whose port is taken says so, and how to find out by whom', async () => {
  const other = createSocket('udp4').bind(0, '127.0.0.1');
  await once(other, 'listening');
  const { port } = other.address() as AddressInfo;
  const { status, stderr } = comicran('server', '--host', '127.0.0.1', '--port', String(port));
  other.close();
  assert.equal(status, 1);
  assert.match(
    stderr,
    /^comicran: UDP port \d+ of 127\.0\.0\.1 is taken by another program\n {2}next: 'ss -ulpn sport = :\d+'/,
  );
});
