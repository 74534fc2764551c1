/**
 * The state of a process's descriptors, found in other ways than the product finds it: by /proc/PID/fdinfo as text, by a
 * sweep over all option numbers that there are, by kcmp on all pairs. What must differ from process to process (inode
 * numbers, mount ids) and what runs on by itself (remaining time) is left out.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { getPipeCapacity, getStatusFlags, POLL, pollNow, readableBytes } from '../../src/linux/file-descriptors.ts';
import { compareDescriptions } from '../../src/linux/kcmp.ts';
import { closeDescriptor, getDescriptor } from '../../src/linux/pidfd.ts';
import { localAddress, remoteAddress, tryGetSocketOption } from '../../src/linux/sockets.ts';

export type DescriptorState = { readonly number: number; readonly facts: readonly string[] };

/** Levels of options: IP, socket, TCP, UDP, IPv6. */
const LEVELS = [0, 1, 6, 17, 41];
const MAX_OPTION = 110;
/** Facts about the past or the identity of a socket, or reading them changes something: `level:option`. */
const VOLATILE = new Set([
  '1:4', // SO_ERROR
  '1:17', // SO_PEERCRED: the process itself
  '1:49', // SO_INCOMING_CPU
  '1:55', // SO_MEMINFO
  '1:56', // SO_INCOMING_NAPI_ID
  '1:57', // SO_COOKIE
  '1:71', // SO_NETNS_COOKIE
  '1:77', // SO_PEERPIDFD makes a descriptor
  '0:14', // IP_MTU
  '41:24', // IPV6_MTU
  '41:61', // IPV6_PATHMTU
  '6:11', // TCP_INFO
  '6:12', // TCP_QUICKACK: the kernel's own, after each exchange
  '6:24', // TCP_TIMESTAMP
]);

export function describeDescriptors(pid: number): DescriptorState[] {
  const numbers = readdirSync(`/proc/${pid}/fd`)
    .map(Number)
    .toSorted((a, b) => a - b);
  return numbers.map((number) => ({ number, facts: factsOf(pid, number) }));
}

/** The numbers that share an open file description, each group once. */
export function describeSharing(pid: number): number[][] {
  const groups: number[][] = [];
  for (const number of readdirSync(`/proc/${pid}/fd`)
    .map(Number)
    .toSorted((a, b) => a - b)) {
    const group = groups.find(([first]) => compareDescriptions(pid, first!, number) === 0);
    if (group === undefined) groups.push([number]);
    else group.push(number);
  }
  return groups;
}

function factsOf(pid: number, number: number): string[] {
  const link = readlinkSync(`/proc/${pid}/fd/${number}`);
  const facts = [stableLink(link), ...infoFacts(readFileSync(`/proc/${pid}/fdinfo/${number}`, 'latin1'))];
  const copy = getDescriptor(pid, number);
  try {
    facts.push(`status flags ${getStatusFlags(copy).toString(8)}`);
    // A FIFO's link is a path; the others say what they are.
    if (link.startsWith('pipe:') || link.includes('fifo')) {
      facts.push(`capacity ${getPipeCapacity(copy)}`, `holds ${readableBytes(copy)}`);
    }
    if (!link.startsWith('/') || link.includes('fifo')) {
      facts.push(`poll ${pollNow(copy, POLL.IN | POLL.OUT | POLL.RDHUP)}`);
    }
    if (link.startsWith('socket:')) facts.push(...socketFacts(copy));
  } finally {
    closeDescriptor(copy);
  }
  return facts;
}

function stableLink(link: string): string {
  // An unlinked file gets back under another name, and loses that too.
  if (link.endsWith(' (deleted)')) return 'unlinked file';
  return link.replace(/^(pipe|socket):\[\d+\]$/, '$1');
}

function infoFacts(text: string): string[] {
  const lines = text
    .split('\n')
    .filter((line) => !/^(mnt_id|ino|eventfd-id|it_value):?/.test(line))
    .map((line) =>
      line
        .replace(/ ino:\S+ sdev:\S+/, '')
        .replace(/^lock:\t\d+: (\S+\s+\S+\s+\S+)\s+\d+ \S+ /, 'lock $1 ')
        .replace(/ino:\S+ sdev:\S+/, ''),
    );
  const armed = text.includes('it_value:') ? [`armed ${!text.includes('it_value: (0, 0)')}`] : [];
  // The items of an epoll descriptor come in no particular order.
  return [...lines.toSorted(), ...armed];
}

function socketFacts(socket: number): string[] {
  const facts = [
    `local ${localAddress(socket).toString('hex')}`,
    `remote ${remoteAddress(socket)?.toString('hex') ?? 'none'}`,
  ];
  for (const level of LEVELS) {
    for (let option = 1; option <= MAX_OPTION; option++) {
      if (VOLATILE.has(`${level}:${option}`)) continue;
      const value = tryGetSocketOption(socket, level, option, 256);
      if (typeof value !== 'number') facts.push(`option ${level}:${option} ${value.toString('hex')}`);
    }
  }
  return facts;
}
