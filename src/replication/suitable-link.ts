/** What a sandbox's own end of its link must be like, for its input to have one order and its outputs to be seen. */
import { ComicranError } from '../base/errors.ts';
import { isOpenHold } from '../linux/egress-hold.ts';
import { readOffloads } from '../linux/ethtool.ts';
import { type ReceiveSteering, receiveSteering } from '../linux/receive-cpu.ts';
import { findDiscipline, getLink, listNeighbours, listRoutes, type RouteSocket } from '../linux/rtnetlink/index.ts';
import { cpusOf } from '../linux/scheduling.ts';

export type LinkFacts = {
  readonly steering: ReceiveSteering;
  /** Several datagrams may cross as one packet. */
  readonly receiveOffload: boolean;
  /** Packets cross without their checksums. */
  readonly checksumOffload: boolean;
  /** Next hops whose link-layer address may have to be asked for first. */
  readonly unresolved: readonly string[];
  /** A queue before the link, other than one that passes everything at once. */
  readonly queued: boolean;
};

const MAIN_TABLE = 254;

/** In the network namespace of the calling thread, which `routes` works on too. */
function linkFacts(routes: RouteSocket, linkName: string): LinkFacts {
  const { index } = getLink(routes, linkName);
  const offloads = readOffloads(linkName);
  const permanent = new Set(
    listNeighbours(routes).flatMap((one) => (one.link === index && one.permanent ? [one.address] : [])),
  );
  const hops = listRoutes(routes)
    .filter(({ link, type, table }) => link === index && type === 'unicast' && table === MAIN_TABLE)
    // A route to a whole network without a gateway asks for every address in it.
    .map(({ gateway, destination }) => gateway ?? destination.replace(/\/32$/, ''));
  const discipline = findDiscipline(routes, index);
  return {
    steering: receiveSteering(linkName),
    receiveOffload: offloads['generic-receive'],
    checksumOffload: offloads['tx-checksum'],
    unresolved: hops.filter((hop) => !permanent.has(hop)),
    queued: discipline !== undefined && discipline.kind !== 'noqueue' && !isOpenHold(discipline),
  };
}

/** What keeps the link from being replicated, in words; empty: nothing. Pure. */
export function unsuitableLink(facts: LinkFacts): string[] {
  const { steering } = facts;
  const reasons: string[] = [];
  if (steering.cpus.length !== 1 || steering.queues !== 1)
    reasons.push(`its packets are received by ${steering.cpus.length === 0 ? 'any CPU' : 'several CPUs'}`);
  if (steering.followedFlows > 0) reasons.push('its packets follow the threads that read them (rps_flow_cnt)');
  if (facts.receiveOffload) reasons.push('generic receive offload is on');
  if (facts.checksumOffload) reasons.push('transmit checksum offload is on');
  for (const hop of facts.unresolved) reasons.push(`the neighbour ${hop} is not permanent`);
  if (facts.queued) reasons.push('a queueing discipline stands before it');
  return reasons;
}

/** @throws ComicranError replication.unsuitable, naming everything that is wrong */
export function checkLink(routes: RouteSocket, linkName: string, affinity: Uint8Array): number {
  const facts = linkFacts(routes, linkName);
  const reasons = unsuitableLink(facts);
  const cpu = facts.steering.cpus[0] ?? 0;
  if (reasons.length > 0) {
    throw unsuitable(linkName, reasons.join('; '), {
      hint: 'A sandbox that was started by this version has a link that suits; otherwise use another mode.',
    });
  }
  if (!cpusOf(affinity).includes(cpu)) {
    throw unsuitable(linkName, `this program may not run on CPU ${cpu}, which receives its packets`, {
      hint: `Let sdaemon run on CPU ${cpu}, or start the sandbox anew: its packets are received by a CPU that sdaemon may run on then.`,
    });
  }
  return cpu;
}

const unsuitable = (linkName: string, why: string, options: { readonly hint: string }): ComicranError =>
  new ComicranError('replication.unsuitable', `link ${linkName} of the sandbox: ${why}`, options);
