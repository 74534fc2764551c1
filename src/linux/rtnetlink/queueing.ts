/**
 * Queueing disciplines: a token bucket (tc-tbf(8)) with a queue in it, whose rate can be changed while packets wait. The
 * binary forms are of linux/rtnetlink.h (struct tcmsg) and linux/pkt_sched.h.
 */
import type { Change, RouteSocket } from './socket.ts';
import { attribute, attributeText, attributeU32, type Message, NLM_F, nested, parseAttributes } from './wire.ts';

const RTM_NEWQDISC = 36;
const RTM_DELQDISC = 37;
const RTM_GETQDISC = 38;
const TC_H_ROOT = 0xffff_ffff;
const TCA = { KIND: 1, OPTIONS: 2, STATS2: 7 } as const;
const TCA_STATS = { BASIC: 1, QUEUE: 3 } as const;
const TCA_TBF = { PARMS: 1, RATE64: 4, BURST: 6 } as const;
const TC_LINKLAYER_ETHERNET = 1;
/** struct tcmsg: u8 family, 3 bytes of padding, i32 index, u32 handle, u32 parent, u32 info. */
const TCMSG_BYTES = 20;
/** struct tc_tbf_qopt: two struct tc_ratespec of 12 bytes, u32 limit, buffer, mtu. */
const TBF_QOPT_BYTES = 36;
const U32_MAX = 0xffff_ffff;

function tcmsg(link: number, handle: number, parent: number): Buffer {
  const header = Buffer.alloc(TCMSG_BYTES);
  header.writeInt32LE(link, 4);
  header.writeUInt32LE(handle, 8);
  header.writeUInt32LE(parent, 12);
  return header;
}

/** The upper half of a handle is its discipline's number; the lower half is 0 for the discipline itself. */
const handleOf = (major: number): number => (major << 16) >>> 0;

export type TokenBucket = {
  /** Bytes a second. */
  readonly rate: bigint;
  /** Added to the length of every packet before it is counted: 65,535 at most. */
  readonly overheadBytes: number;
  /** Longest packet, link-layer header included, and how much may pass at once. Longer packets are dropped. */
  readonly burstBytes: number;
  /** Packets that wait at most; what comes on top is dropped. */
  readonly limitPackets: number;
};

function tokenBucketOptions(bucket: TokenBucket): Buffer {
  const options = Buffer.alloc(TBF_QOPT_BYTES);
  options.writeUInt8(TC_LINKLAYER_ETHERNET, 1);
  options.writeUInt16LE(bucket.overheadBytes, 2);
  options.writeUInt32LE(Number(bucket.rate < BigInt(U32_MAX) ? bucket.rate : BigInt(U32_MAX)), 8);
  options.writeUInt32LE(bucket.limitPackets, 24);
  const rate = Buffer.alloc(8);
  rate.writeBigUInt64LE(bucket.rate);
  return nested(
    TCA.OPTIONS,
    attribute(TCA_TBF.PARMS, options),
    attribute(TCA_TBF.RATE64, rate),
    attributeU32(TCA_TBF.BURST, bucket.burstBytes),
  );
}

/**
 * Puts a token bucket in front of a device, as discipline `major`:0, full of tokens. The queue inside counts packets, not
 * bytes as tbf's own does. The device drops what it is given in the moment of the change.
 */
export function addTokenBucket(link: number, major: number, bucket: TokenBucket): Change[] {
  const limit = Buffer.alloc(4);
  limit.writeUInt32LE(bucket.limitPackets);
  const handle = handleOf(major);
  return [
    {
      what: `add tbf to link ${link}`,
      type: RTM_NEWQDISC,
      flags: NLM_F.CREATE | NLM_F.EXCL,
      body: Buffer.concat([tcmsg(link, handle, TC_H_ROOT), attributeText(TCA.KIND, 'tbf'), tokenBucketOptions(bucket)]),
    },
    {
      what: `add pfifo to link ${link}`,
      type: RTM_NEWQDISC,
      flags: NLM_F.CREATE | NLM_F.REPLACE,
      body: Buffer.concat([
        tcmsg(link, handleOf(major + 1), handle + 1),
        attributeText(TCA.KIND, 'pfifo'),
        attribute(TCA.OPTIONS, limit),
      ]),
    },
  ];
}

/**
 * Changes the bucket that is there, and fills it with tokens. What waits goes on waiting, in order; it is looked at when
 * the next packet comes.
 */
export function changeTokenBucket(link: number, major: number, bucket: TokenBucket): Change {
  return {
    what: `change tbf of link ${link}`,
    type: RTM_NEWQDISC,
    flags: 0,
    body: Buffer.concat([
      tcmsg(link, handleOf(major), TC_H_ROOT),
      attributeText(TCA.KIND, 'tbf'),
      tokenBucketOptions(bucket),
    ]),
  };
}

/** What a device is given is at its driver when the sender's call returns. */
export function setNoQueue(link: number): Change {
  return {
    what: `set link ${link} to noqueue`,
    type: RTM_NEWQDISC,
    flags: NLM_F.CREATE | NLM_F.REPLACE,
    body: Buffer.concat([tcmsg(link, 0, TC_H_ROOT), attributeText(TCA.KIND, 'noqueue')]),
  };
}

/** Takes the discipline away, and what waits in it. Fails with ENOENT or EINVAL where the device has no such one. */
export function deleteDiscipline(link: number, major: number): Change {
  return {
    what: `delete queueing discipline of link ${link}`,
    type: RTM_DELQDISC,
    flags: 0,
    body: tcmsg(link, handleOf(major), TC_H_ROOT),
  };
}

export type Discipline = {
  readonly kind: string;
  readonly major: number;
  /** Of a tbf: bytes a second. */
  readonly rate: bigint | undefined;
  /** That have left it, since it is there. */
  readonly sentPackets: number;
  readonly waitingPackets: number;
  readonly droppedPackets: number;
};

/** The root discipline of a device (`noqueue` is one too); undefined: there is no such device. */
export function findDiscipline(socket: RouteSocket, link: number): Discipline | undefined {
  // A request for a single one is not answered at all where it is `noqueue`: so all of them, of all devices.
  const root = socket
    .dump('list queueing disciplines', RTM_GETQDISC, tcmsg(0, 0, 0))
    .find(({ body }) => body.readInt32LE(4) === link && body.readUInt32LE(12) === TC_H_ROOT);
  return root === undefined ? undefined : parseDiscipline(root);
}

/**
 * The discipline of that number at the root of a device: quicker than {@link findDiscipline}.
 * @throws KernelError ENOENT: it has another one
 */
export function getDiscipline(socket: RouteSocket, link: number, major: number): Discipline {
  const which = tcmsg(link, handleOf(major), TC_H_ROOT);
  // Without ECHO nobody is answered.
  return parseDiscipline(socket.get('get queueing discipline', RTM_GETQDISC, which, NLM_F.ECHO));
}

function parseDiscipline(message: Message): Discipline {
  const attributes = parseAttributes(message.body.subarray(TCMSG_BYTES));
  const kind = attributes.get(TCA.KIND)?.toString('utf8').replace(/\0+$/, '') ?? '';
  const stats = parseAttributes(attributes.get(TCA.STATS2) ?? Buffer.alloc(0));
  // struct gnet_stats_basic: u64 bytes, u32 packets. struct gnet_stats_queue: u32 waiting, bytes, drops, requeues, overlimits.
  const basic = stats.get(TCA_STATS.BASIC);
  const queue = stats.get(TCA_STATS.QUEUE);
  return {
    kind,
    major: message.body.readUInt32LE(8) >>> 16,
    rate: kind === 'tbf' ? tokenBucketRate(attributes.get(TCA.OPTIONS)) : undefined,
    sentPackets: basic?.readUInt32LE(8) ?? 0,
    waitingPackets: queue?.readUInt32LE(0) ?? 0,
    droppedPackets: queue?.readUInt32LE(8) ?? 0,
  };
}

function tokenBucketRate(options: Buffer | undefined): bigint | undefined {
  const attributes = parseAttributes(options ?? Buffer.alloc(0));
  const long = attributes.get(TCA_TBF.RATE64);
  const short = attributes.get(TCA_TBF.PARMS);
  return long?.readBigUInt64LE() ?? (short === undefined ? undefined : BigInt(short.readUInt32LE(8)));
}
