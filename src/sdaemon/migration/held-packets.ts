import { macOf } from '../../jailor/index.ts';
import { SandboxPackets } from '../dataplane/destination-packets.ts';
import type { Skeleton } from './job.ts';

/** The packets of a sandbox that is to arrive here. The caller closes them; what is held in the kernel stays held. */
export function packetsOf({ link, address, initPid }: Skeleton): SandboxPackets {
  return new SandboxPackets({ linkName: link, address, mac: macOf(address), pid: initPid });
}
