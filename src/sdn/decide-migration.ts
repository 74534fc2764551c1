/**
 * Migrations, as far as the network needs to know of them: pure functions, as in decisions.ts.
 *
 *     owner: announce ──► destination: open ──► destination: take ──► destination: lead ──► either: end
 *                │                   │                  │                       │
 *                │                   │                  │                       └ packets for the sandbox come here
 *                │                   │                  └ nobody may take by this any more; it may be given back
 *                │                   └ the sandbox's packets are taken from both machines
 *                └ the destination may take the announced epoch, for as long as the record has it
 *
 * Where the announcement does not say that the route follows later, take leads as well, and there is nothing to lead.
 *
 * The right does not end by time: a destination that could not reach the sdn for an hour, and whose source is dead, is the
 * only one that has the process. Packets from both machines do (plan.ts).
 */
import { ComicranError } from '../base/errors.ts';
import { type Decision, unknownSandbox } from './decision.ts';
import { type Announcement, type Edit, isLate, type Location, type Tables } from './tables.ts';

export type Announce = {
  readonly sandbox: string;
  readonly migrationId: string;
  readonly epoch: bigint;
  readonly from: string;
  readonly to: string;
  /** Unix time in milliseconds. */
  readonly untilMs: number;
  /** The destination says itself when packets for the sandbox are to come to it. */
  readonly lateRoute: boolean;
};

export type Lead = { readonly sandbox: string; readonly migrationId: string; readonly vm: string };

export type EndMigration = { readonly sandbox: string; readonly migrationId: string; readonly vm: string };

/** Who asks for a record channel, and the links of the sdn node that lead to the owner and to who asks. */
export type OpenRecord = {
  readonly sandbox: string;
  readonly migrationId: string;
  readonly expectedEpoch: bigint;
  readonly vm: string;
  readonly ownerLink: string;
  readonly link: string;
};

function announcementAt({ announcements }: Tables, { sandbox, epoch }: Location): Announcement | undefined {
  const announcement = announcements.get(sandbox);
  return announcement?.epoch === epoch ? announcement : undefined;
}

/** The migration by which a machine may take the present epoch; undefined: it may not. */
export function rightToTake(
  tables: Tables,
  location: Location,
  { vm, migrationId }: { readonly vm: string; readonly migrationId: string },
): Announcement | undefined {
  const announcement = announcementAt(tables, location);
  return announcement?.to === vm && announcement.migrationId === migrationId ? announcement : undefined;
}

/** The migration by which a machine became the owner, which may be given back to its source; undefined: there is none. */
export function rightToGiveBack(
  { announcements }: Tables,
  { sandbox, epoch, vm }: Location,
  migrationId: string,
): Announcement | undefined {
  const announcement = announcements.get(sandbox);
  const isThis = announcement?.migrationId === migrationId && announcement.to === vm;
  return isThis && announcement.epoch + 1n === epoch ? announcement : undefined;
}

/** @throws ComicranError where only the destination of a migration knows who owns. */
export function checkIsDecided(tables: Tables, location: Location): void {
  const announcement = announcementAt(tables, location);
  if (announcement?.undecided !== true) return;
  const { sandbox, to, migrationId } = announcement;
  throw new ComicranError(
    'sdn.unreachable',
    `the sdn node was started anew in migration ${migrationId} of '${sandbox}': ${to} has to say first whether it owns`,
    { hint: `Let the sdaemon of ${to} run. Where that machine is lost for good, end the sandbox and start it again.` },
  );
}

/** From the owner. An earlier announcement is over with it. */
export function decideAnnounce(tables: Tables, request: Announce): Decision<Announcement> {
  const { sandbox, migrationId, epoch, from, to, untilMs, lateRoute } = request;
  const location = tables.locations.get(sandbox);
  if (location === undefined) throw unknownSandbox(sandbox);
  if (location.vm !== from || location.epoch !== epoch) {
    const record = `it belongs to ${location.vm} in epoch ${location.epoch}`;
    throw new ComicranError('ownership.lost', `${from} cannot move '${sandbox}' of epoch ${epoch}: ${record}`);
  }
  if (from === to) throw new ComicranError('migration.refused', `'${sandbox}' is on ${to} already`);
  checkIsDecided(tables, location);
  const { address, vmAddress: fromAddress } = location;
  const former = tables.announcements.get(sandbox);
  const announcement: Announcement = {
    ...{ sandbox, address, migrationId, epoch, from, to, untilMs },
    ...{ fromAddress, fromLink: '', toLink: '', undecided: false, lateRoute },
  };
  const edits: Edit[] = former === undefined ? [] : [{ kind: 'remove-announcement', announcement: former }];
  return {
    edits: [...leadEdits(location), ...edits, { kind: 'put-announcement', announcement }],
    answer: announcement,
  };
}

/** What brings the packets for a sandbox to its owner. */
function leadEdits(location: Location | undefined): Edit[] {
  if (location === undefined || !isLate(location)) return [];
  return [{ kind: 'set-owner', location: { ...location, via: location.vmAddress } }];
}

/** From the owner, in the migration by which it became that. What it has is led to it already. */
export function decideLead(tables: Tables, { sandbox, migrationId, vm }: Lead): Decision<Location> {
  const location = tables.locations.get(sandbox);
  if (location === undefined) throw unknownSandbox(sandbox);
  const edits = leadEdits(location);
  const isTheirs = location.vm === vm && (edits.length === 0 || location.migrationId === migrationId);
  if (!isTheirs) {
    const record = `it belongs to ${location.vm} in epoch ${location.epoch}`;
    throw new ComicranError('ownership.lost', `packets for '${sandbox}' are not led to ${vm}: ${record}`);
  }
  return { edits, answer: { ...location, via: location.vmAddress } };
}

/** From either side. What is not announced is over. Packets for the sandbox come to the owner from then on. */
export function decideEndMigration(tables: Tables, request: EndMigration): Decision<undefined> {
  const { sandbox, migrationId, vm } = request;
  const announcement = tables.announcements.get(sandbox);
  if (announcement === undefined || announcement.migrationId !== migrationId) return { edits: [], answer: undefined };
  const { from, to } = announcement;
  if (vm !== from && vm !== to) {
    throw new ComicranError('peer.refused', `migration ${migrationId} is of ${from} and ${to}, not of ${vm}`);
  }
  const leading = leadEdits(tables.locations.get(sandbox));
  return { edits: [...leading, { kind: 'remove-announcement', announcement }], answer: undefined };
}

/** Both sides of an announced migration may have a record channel. From the destination's on, both may send. */
export function decideOpenRecord(tables: Tables, request: OpenRecord): Decision<Announcement> {
  const { sandbox, migrationId, expectedEpoch, vm, ownerLink, link } = request;
  const location = tables.locations.get(sandbox);
  if (location === undefined) throw unknownSandbox(sandbox);
  if (location.epoch !== expectedEpoch) {
    const record = `it belongs to ${location.vm} in epoch ${location.epoch}`;
    throw new ComicranError('ownership.lost', `'${sandbox}' is not at epoch ${expectedEpoch}: ${record}`);
  }
  const announcement = announcementAt(tables, location);
  const isOwner = announcement?.from === vm;
  if (announcement?.migrationId !== migrationId || (!isOwner && announcement.to !== vm)) {
    throw new ComicranError('peer.refused', notAnnounced(location, vm, migrationId));
  }
  checkIsDecided(tables, location);
  if (isOwner) return { edits: [], answer: announcement };
  const opened: Announcement = { ...announcement, fromLink: ownerLink, toLink: link };
  return { edits: [{ kind: 'put-announcement', announcement: opened }], answer: opened };
}

export function notAnnounced({ sandbox, vm: owner }: Location, vm: string, migrationId: string): string {
  const which = migrationId === '' ? 'no migration' : `no migration ${migrationId}`;
  return `${vm} may not take '${sandbox}': ${owner}, which owns it, has announced ${which} to it`;
}

/** How long what the former owner has sent may be on its way. */
const IN_FLIGHT_MS = 1_000;
/** Longest that packets for a sandbox go elsewhere than to its owner; a copy that has to be given back is by then. */
const LATE_MS = 120_000;
/** Before packets from both machines are taken no more. Longer than the time between two looks. */
const AHEAD_MS = 20_000;

/**
 * Behind the compare-and-set: packets of the former owner are taken for a moment more, then they are not. Where the route
 * has not followed the owner yet, it will at the end of a time that begins here, should the owner not say so before.
 */
export function decideSettle(tables: Tables, sandbox: string, nowMs: number): Decision<undefined> {
  const announcement = tables.announcements.get(sandbox);
  const location = tables.locations.get(sandbox);
  if (location === undefined) return { edits: [], answer: undefined };
  if (isOverdue(tables, location, nowMs)) return { edits: leadEdits(location), answer: undefined };
  const untilMs = nowMs + (isLate(location) ? LATE_MS : IN_FLIGHT_MS);
  const settles = announcement !== undefined && location.epoch > announcement.epoch;
  if (!settles || announcement.untilMs <= untilMs) return { edits: [], answer: undefined };
  return { edits: [{ kind: 'put-announcement', announcement: { ...announcement, untilMs } }], answer: undefined };
}

function isOverdue({ announcements }: Tables, location: Location, nowMs: number): boolean {
  return isLate(location) && (announcements.get(location.sandbox)?.untilMs ?? 0) <= nowMs + AHEAD_MS;
}
