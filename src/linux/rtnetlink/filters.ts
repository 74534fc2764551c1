/**
 * Redirecting what leaves a device, before any queue of the device's own: a filter of the `clsact` discipline (tc(8))
 * that sends every IPv4 packet to another device. Its coming and going is atomic for each packet: one goes one way.
 *
 * Where the other device is gone, what would have gone there is dropped: net/sched/act_mirred.c.
 */
import { EEXIST } from '../errno.ts';
import type { Change, RouteSocket } from './socket.ts';
import { attribute, attributeText, NLM_F, nested } from './wire.ts';

const RTM_NEWQDISC = 36;
const RTM_NEWTFILTER = 44;
const RTM_DELTFILTER = 45;
/** linux/pkt_sched.h. */
const TC_H_CLSACT = 0xffff_fff1;
const CLSACT_HANDLE = 0xffff_0000;
const CLSACT_EGRESS = 0xffff_fff3;
const ETH_P_IP = 0x0800;
const TCA = { KIND: 1, OPTIONS: 2 } as const;
/** linux/pkt_cls.h, linux/tc_act/tc_mirred.h. */
const TCA_U32 = { SEL: 5, ACT: 7 } as const;
const TC_U32_TERMINAL = 1;
const TCA_ACT = { KIND: 1, OPTIONS: 2 } as const;
const TCA_MIRRED_PARMS = 2;
const TC_ACT_STOLEN = 4;
const TCA_EGRESS_REDIR = 1;
/** struct tcmsg: u8 family, 3 bytes of padding, i32 index, u32 handle, u32 parent, u32 info. */
const TCMSG_BYTES = 20;

function tcmsg(link: number, handle: number, parent: number, info: number): Buffer {
  const header = Buffer.alloc(TCMSG_BYTES);
  header.writeInt32LE(link, 4);
  header.writeUInt32LE(handle, 8);
  header.writeUInt32LE(parent, 12);
  header.writeUInt32LE(info, 16);
  return header;
}

/** A filter's info word: its priority, and the protocol it is for in network order. */
const infoOf = (priority: number): number => ((priority << 16) | ((ETH_P_IP & 0xff) << 8) | (ETH_P_IP >> 8)) >>> 0;

/** One selector that looks at one word under a mask of nothing: it matches every packet. struct tc_u32_sel, tc_u32_key. */
function matchAll(): Buffer {
  const selector = Buffer.alloc(16 + 16);
  selector.writeUInt8(TC_U32_TERMINAL, 0);
  selector.writeUInt8(1, 2);
  return selector;
}

function redirectTo(target: number): Buffer {
  // struct tc_mirred: u32 index, capabilities, i32 action, references, bindings, what, u32 device
  const parameters = Buffer.alloc(28);
  parameters.writeInt32LE(TC_ACT_STOLEN, 8);
  parameters.writeInt32LE(TCA_EGRESS_REDIR, 20);
  parameters.writeUInt32LE(target, 24);
  const action = nested(
    1,
    attributeText(TCA_ACT.KIND, 'mirred'),
    nested(TCA_ACT.OPTIONS, attribute(TCA_MIRRED_PARMS, parameters)),
  );
  return nested(TCA_U32.ACT, action);
}

/**
 * Makes room for filters on a device. The device drops what it sends in the moment of the change; where there is room
 * already, nothing changes.
 */
export function ensureFilterPoint(routes: RouteSocket, link: number): void {
  const change: Change = {
    what: `add clsact to link ${link}`,
    type: RTM_NEWQDISC,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    body: Buffer.concat([tcmsg(link, CLSACT_HANDLE, TC_H_CLSACT, 0), attributeText(TCA.KIND, 'clsact')]),
  };
  routes.applyUnless(change, EEXIST);
}

/** From now on every IPv4 packet that leaves `link` goes to `target` instead. Fails with EINVAL where there is one. */
export function addRedirection(link: number, target: number, priority: number): Change {
  return {
    what: `redirect what leaves link ${link}`,
    type: RTM_NEWTFILTER,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    body: Buffer.concat([
      tcmsg(link, 0, CLSACT_EGRESS, infoOf(priority)),
      attributeText(TCA.KIND, 'u32'),
      nested(TCA.OPTIONS, attribute(TCA_U32.SEL, matchAll()), redirectTo(target)),
    ]),
  };
}

/** Takes away every filter of the priority. Fails with ENOENT or EINVAL where there is none. */
export function deleteRedirection(link: number, priority: number): Change {
  return {
    what: `delete redirection of link ${link}`,
    type: RTM_DELTFILTER,
    flags: 0,
    body: tcmsg(link, 0, CLSACT_EGRESS, infoOf(priority)),
  };
}
