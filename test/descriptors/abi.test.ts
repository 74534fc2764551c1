/** Numbers and layouts that descriptors are captured by, against the C headers of this machine. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { encodeLock } from '../../src/linux/advisory-locks.ts';
import { epollEvent } from '../../src/linux/epoll.ts';
import { O } from '../../src/linux/open-flags.ts';
import { inetOptions, NETLINK_OPTIONS } from '../../src/linux/socket-options.ts';
import { encodeInetAddress } from '../../src/linux/sockets.ts';
import { needs } from '../support/needs.ts';

/** Headers of the kernel that say the options' names; those of the C library define the same in conflict. */
const HEADERS = [
  'asm-generic/socket.h',
  'linux/in.h',
  'linux/in6.h',
  'linux/ipv6.h',
  'linux/udp.h',
  'linux/tcp.h',
  'linux/netlink.h',
];

function compileAndRun(source: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-abi-'));
  try {
    writeFileSync(join(directory, 'probe.c'), source);
    execFileSync('cc', ['-w', '-D_GNU_SOURCE', '-o', join(directory, 'probe'), join(directory, 'probe.c')]);
    return execFileSync(join(directory, 'probe'), { encoding: 'utf8' });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('socket options have the numbers of the kernel headers', { skip: needs('cc') }, () => {
  const options = new Map(
    [...inetOptions('inet6', 'udp'), ...inetOptions('inet', 'tcp'), ...NETLINK_OPTIONS].map(({ name, number }) => [
      name,
      number,
    ]),
  );
  const lines = [...options.keys()].map((name) => `#ifdef ${name}\nprintf("${name} %d\\n", (int)${name});\n#endif`);
  const includes = HEADERS.map((header) => `#include <${header}>`).join('\n');
  const output = compileAndRun(
    `#include <stdio.h>\n#include <sys/socket.h>\n${includes}\nint main() {\n${lines.join('\n')}\n}`,
  );
  const found = output
    .trim()
    .split('\n')
    .map((line) => line.split(' '));
  // Older headers lack the newest ones.
  assert.ok(found.length > options.size - 10, `${found.length} of ${options.size} are in the headers`);
  for (const [name, number] of found) assert.equal(options.get(name!), Number(number), name);
});

test('open flags have the numbers of the C library', { skip: needs('cc') }, () => {
  const names = Object.keys(O).filter((name) => name !== 'LARGEFILE');
  const lines = names.map((name) => `printf("%d ", O_${name});`).join('\n');
  const output = compileAndRun(`#include <stdio.h>\n#include <fcntl.h>\nint main() {\n${lines}\n}`);
  assert.deepEqual(
    output.trim().split(' ').map(Number),
    names.map((name) => O[name as keyof typeof O]),
  );
});

test('structures have the layout of the C library', { skip: needs('cc') }, () => {
  const fields = [
    'sizeof(struct flock)',
    'offsetof(struct flock, l_start)',
    'offsetof(struct flock, l_len)',
    'sizeof(struct epoll_event)',
    'offsetof(struct epoll_event, data)',
    'sizeof(struct sockaddr_in6)',
    'offsetof(struct sockaddr_in6, sin6_scope_id)',
    'sizeof(struct stat)',
    'offsetof(struct stat, st_nlink)',
    'offsetof(struct stat, st_mode)',
    'offsetof(struct stat, st_rdev)',
    'offsetof(struct stat, st_size)',
    'sizeof(struct statfs)',
    'offsetof(struct statfs, f_flags)',
    'sizeof(struct group_filter)',
    'offsetof(struct group_filter, gf_fmode)',
    'offsetof(struct group_filter, gf_slist)',
    'sizeof(struct msghdr)',
    'offsetof(struct msghdr, msg_flags)',
    'offsetof(struct tcp_info, tcpi_unacked)',
    'offsetof(struct tcp_info, tcpi_sacked)',
  ];
  const includes = [
    'stdio.h',
    'stddef.h',
    'fcntl.h',
    'sys/epoll.h',
    'sys/stat.h',
    'sys/statfs.h',
    'netinet/in.h',
    'netinet/tcp.h',
    'sys/socket.h',
  ];
  const source = `${includes.map((name) => `#include <${name}>`).join('\n')}\nint main() {\n${fields.map((field) => `printf("%d ", (int)${field});`).join('\n')}\n}`;
  const values = compileAndRun(source).trim().split(' ').map(Number);
  const actual = Object.fromEntries(fields.map((field, index) => [field, values[index]]));
  assert.deepEqual(actual, {
    'sizeof(struct flock)': encodeLock({ type: 'ofd', exclusive: true, start: 0n, end: 1n }).length,
    'offsetof(struct flock, l_start)': 8,
    'offsetof(struct flock, l_len)': 16,
    'sizeof(struct epoll_event)': epollEvent(1, 0n).length,
    'offsetof(struct epoll_event, data)': 4,
    'sizeof(struct sockaddr_in6)': encodeInetAddress({ address: Buffer.alloc(16), port: 1, flowInfo: 0, scopeId: 0 })
      .length,
    'offsetof(struct sockaddr_in6, sin6_scope_id)': 24,
    'sizeof(struct stat)': 144,
    'offsetof(struct stat, st_nlink)': 16,
    'offsetof(struct stat, st_mode)': 24,
    'offsetof(struct stat, st_rdev)': 40,
    'offsetof(struct stat, st_size)': 48,
    'sizeof(struct statfs)': 120,
    'offsetof(struct statfs, f_flags)': 80,
    // One source address stands in the structure already.
    'sizeof(struct group_filter)': 8 + 128 + 8 + 128,
    'offsetof(struct group_filter, gf_fmode)': 136,
    'offsetof(struct group_filter, gf_slist)': 144,
    'sizeof(struct msghdr)': 56,
    'offsetof(struct msghdr, msg_flags)': 48,
    'offsetof(struct tcp_info, tcpi_unacked)': 24,
    'offsetof(struct tcp_info, tcpi_sacked)': 28,
  });
});
