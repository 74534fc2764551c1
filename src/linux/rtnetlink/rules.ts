/** IPv4 routing rules: which table is asked for which packet. */
import { ipv4Bytes, ipv4Text } from '../../base/ipv4.ts';
import type { Change, RouteSocket } from './socket.ts';
import {
  AF,
  attribute,
  attributeText,
  attributeU32,
  FR_ACT,
  FRA,
  type Message,
  NLM_F,
  parseAttributes,
  RTM,
} from './wire.ts';

/** struct fib_rule_hdr: u8 family, dst_len, src_len, tos, table, two reserved, action; u32 flags. */
const FIB_RULE_HDR_BYTES = 12;

export type Rule = {
  /** Number of the table to ask. */
  readonly table: number;
  /** Rules are asked in ascending order; main stands at 32766. */
  readonly priority: number;
  /** Name of the device that the packet came in by. */
  readonly incoming?: string;
  /** `10.88.0.5` or `10.88.0.0/16`. */
  readonly source?: string;
  readonly destination?: string;
  readonly mark?: number;
};

function network(text: string): { bytes: Buffer; prefixLength: number } {
  const [address = '', prefix = '32'] = text.split('/');
  return { bytes: ipv4Bytes(address), prefixLength: Number(prefix) };
}

function body(rule: Rule): Buffer {
  const header = Buffer.alloc(FIB_RULE_HDR_BYTES);
  header.writeUInt8(AF.INET, 0);
  header.writeUInt8(rule.table > 255 ? 0 : rule.table, 4);
  header.writeUInt8(FR_ACT.TO_TBL, 7);
  const parts = [header, attributeU32(FRA.TABLE, rule.table), attributeU32(FRA.PRIORITY, rule.priority)];
  if (rule.destination !== undefined) {
    const { bytes, prefixLength } = network(rule.destination);
    header.writeUInt8(prefixLength, 1);
    parts.push(attribute(FRA.DST, bytes));
  }
  if (rule.source !== undefined) {
    const { bytes, prefixLength } = network(rule.source);
    header.writeUInt8(prefixLength, 2);
    parts.push(attribute(FRA.SRC, bytes));
  }
  if (rule.incoming !== undefined) parts.push(attributeText(FRA.IIFNAME, rule.incoming));
  if (rule.mark !== undefined) parts.push(attributeU32(FRA.FWMARK, rule.mark), attributeU32(FRA.FWMASK, 0xffffffff));
  return Buffer.concat(parts);
}

/** Fails with EEXIST when there is an equal one. */
export function addRule(rule: Rule): Change {
  return {
    what: `add rule ${rule.priority}`,
    type: RTM.NEWRULE,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    body: body(rule),
  };
}

/** Fails with ENOENT when there is none. */
export function deleteRule(rule: Rule): Change {
  return { what: `delete rule ${rule.priority}`, type: RTM.DELRULE, flags: 0, body: body(rule) };
}

function parseRule(message: Message): Rule {
  const attributes = parseAttributes(message.body.subarray(FIB_RULE_HDR_BYTES));
  const source = attributes.get(FRA.SRC);
  const destination = attributes.get(FRA.DST);
  const incoming = attributes.get(FRA.IIFNAME)?.toString('utf8').replace(/\0+$/, '');
  const mark = attributes.get(FRA.FWMARK)?.readUInt32LE();
  return {
    table: attributes.get(FRA.TABLE)?.readUInt32LE() ?? message.body.readUInt8(4),
    priority: attributes.get(FRA.PRIORITY)?.readUInt32LE() ?? 0,
    ...(incoming === undefined ? {} : { incoming }),
    ...(source === undefined ? {} : { source: `${ipv4Text(source)}/${message.body.readUInt8(2)}` }),
    ...(destination === undefined ? {} : { destination: `${ipv4Text(destination)}/${message.body.readUInt8(1)}` }),
    ...(mark === undefined ? {} : { mark }),
  };
}

export function listRules(socket: RouteSocket): Rule[] {
  const header = Buffer.alloc(FIB_RULE_HDR_BYTES);
  header.writeUInt8(AF.INET, 0);
  return socket.dump('list rules', RTM.GETRULE, header).map(parseRule);
}
