/**
 * What a request does to the tables: pure functions from the tables and a request to edits and an answer, or a
 * ComicranError that says why not. Asked again with the same request after its answer was lost, each gives the same answer
 * and no edits.
 */
import { ComicranError } from '../base/errors.ts';
import type { Protocol } from '../base/sandbox-config.ts';
import { checkIsDecided, notAnnounced, rightToGiveBack, rightToTake } from './decide-migration.ts';
import { type Decision, unknownSandbox } from './decision.ts';
import {
  type Announcement,
  type Edit,
  type Location,
  type Service,
  serviceKey,
  servicesOf,
  type Tables,
} from './tables.ts';

export type ServicePort = {
  /** Of the sandbox. */
  readonly port: number;
  readonly protocol: Protocol;
  /** Of the service address. */
  readonly service: number;
};

export type Claim = {
  readonly sandbox: string;
  readonly address: string;
  readonly vm: string;
  readonly vmAddress: string;
  readonly services: readonly ServicePort[];
};

export type SetOwner = {
  readonly sandbox: string;
  readonly expectedEpoch: bigint;
  readonly vm: string;
  /** Not looked at where it is given back: the sdn knows it. */
  readonly vmAddress: string;
  /** Who asks, where it is not `vm`: the owner, which gives back what it has taken. */
  readonly by?: string;
  /** Names the change, so that the same request is known when it comes again; empty: it is not. */
  readonly migrationId: string;
};

export type Release = { readonly sandbox: string; readonly vm: string; readonly epoch: bigint };

export type SetService = {
  readonly port: number;
  readonly protocol: Protocol;
  readonly sandbox: string;
  readonly sandboxPort: number;
};

function checkServiceIsFree(tables: Tables, wanted: Service): void {
  const holder = tables.services.get(serviceKey(wanted));
  if (holder === undefined || (holder.sandbox === wanted.sandbox && holder.sandboxPort === wanted.sandboxPort)) return;
  throw new ComicranError(
    'service.in-use',
    `service port ${serviceKey(wanted)} leads to port ${holder.sandboxPort} of sandbox '${holder.sandbox}'`,
    { hint: 'Choose another service port in the configuration, or end that sandbox.' },
  );
}

function checkAddressIsFree(tables: Tables, claim: Claim, serviceAddress: string): void {
  const { sandbox, address } = claim;
  const hint = 'Give the sandbox another address in its configuration.';
  if (address === serviceAddress) {
    throw new ComicranError('address.in-use', `${address} is the service address of the sdn node`, { hint });
  }
  for (const other of tables.locations.values()) {
    if (other.address === address && other.sandbox !== sandbox) {
      const holder = `sandbox '${other.sandbox}' on ${other.vm}`;
      throw new ComicranError('address.in-use', `the address ${address} belongs to ${holder}`, { hint });
    }
    if (other.vmAddress === address) {
      throw new ComicranError('address.in-use', `${address} is the address of the machine ${other.vm}`, { hint });
    }
  }
  if (claim.vmAddress === address) {
    throw new ComicranError('address.in-use', `${address} is the address of the machine ${claim.vm}`, { hint });
  }
}

/**
 * A new sandbox. Refuses a name, an address or a service port that is taken; what is the claimant's already, with the
 * same address, is confirmed (its daemon has been started again, or has not heard the answer).
 */
export function decideClaim(
  tables: Tables,
  claim: Claim,
  serviceAddress: string,
): Decision<{ readonly location: Location; readonly services: readonly Service[] }> {
  const { sandbox, address, vm, vmAddress } = claim;
  const present = tables.locations.get(sandbox);
  if (present !== undefined && (present.vm !== vm || present.address !== address)) {
    const where = `on ${present.vm}, with the address ${present.address}`;
    throw new ComicranError('sandbox.exists', `a sandbox '${sandbox}' is there already: ${where}`, {
      hint: `End it with 'comicran smanager terminate ${sandbox}', or choose another name.`,
    });
  }
  checkAddressIsFree(tables, claim, serviceAddress);
  const wanted = claim.services.map(
    ({ port, protocol, service }): Service => ({
      port: service,
      protocol,
      sandbox,
      sandboxAddress: address,
      sandboxPort: port,
    }),
  );
  const edits: Edit[] = [];
  const location: Location = present ?? {
    sandbox,
    address,
    vm,
    vmAddress,
    epoch: tables.endedEpoch + 1n,
    migrationId: '',
    via: vmAddress,
  };
  const claimed = location.vmAddress === vmAddress ? location : { ...location, vmAddress, via: vmAddress };
  if (present?.vmAddress !== vmAddress) edits.push({ kind: 'put-location', location: claimed });
  const keys = new Set<string>();
  for (const service of wanted) {
    const key = serviceKey(service);
    if (keys.has(key)) throw new ComicranError('config.invalid', `'${sandbox}' asks for service port ${key} twice`);
    keys.add(key);
    checkServiceIsFree(tables, service);
    if (!tables.services.has(key)) edits.push({ kind: 'put-service', service });
  }
  return { edits, answer: { location: claimed, services: wanted } };
}

/**
 * Compare-and-set of the owner: by the owner for itself (which fences the destination of a migration), by the destination
 * of the migration that it has announced, and by the owner for the source of the migration by which it became the owner.
 * `changed` says whether the caller is the owner by this request, now or when it was
 * asked before; else the location is the record as it stands.
 */
export function decideSetOwner(
  tables: Tables,
  request: SetOwner,
): Decision<{ readonly changed: boolean; readonly location: Location }> {
  const { sandbox, expectedEpoch, vm, migrationId } = request;
  const present = tables.locations.get(sandbox);
  if (present === undefined) throw unknownSandbox(sandbox);
  if (present.epoch !== expectedEpoch) {
    const isThisChange =
      migrationId !== '' &&
      present.epoch === expectedEpoch + 1n &&
      present.migrationId === migrationId &&
      present.vm === vm;
    return { edits: [], answer: { changed: isThisChange, location: present } };
  }
  const { vmAddress, over, via = vmAddress } = rightToSet(tables, present, request);
  const location: Location = { ...present, vm, vmAddress, epoch: expectedEpoch + 1n, migrationId, via };
  const edits: Edit[] = [{ kind: 'set-owner', location }];
  if (over !== undefined) edits.push({ kind: 'remove-announcement', announcement: over });
  return { edits, answer: { changed: true, location } };
}

/**
 * @returns the new owner's address, the migration that is over with the change, and where the packets go if not there.
 * @throws where it may not
 */
function rightToSet(
  tables: Tables,
  present: Location,
  { sandbox, vm, vmAddress, by = vm, migrationId }: SetOwner,
): { readonly vmAddress: string; readonly over: Announcement | undefined; readonly via?: string } {
  if (by !== vm) {
    const over = by === present.vm ? rightToGiveBack(tables, present, migrationId) : undefined;
    if (over?.from === vm) return { vmAddress: over.fromAddress, over };
    throw new ComicranError('peer.refused', `${by} has nothing of '${sandbox}' that it could give back to ${vm}`);
  }
  if (vm === present.vm) {
    checkIsDecided(tables, present);
    return { vmAddress, over: tables.announcements.get(sandbox) };
  }
  const announcement = rightToTake(tables, present, { vm, migrationId });
  if (announcement !== undefined) {
    // Without passages packets of the new owner would be refused for as long as the route leads elsewhere.
    const isLate = announcement.lateRoute && announcement.toLink !== '';
    return { vmAddress, over: undefined, ...(isLate ? { via: present.via } : {}) };
  }
  throw new ComicranError('peer.refused', notAnnounced(present, vm, migrationId));
}

/** The sandbox has ended. Only its owner may say so, with the right epoch. A sandbox that is not there is released. */
export function decideRelease(tables: Tables, { sandbox, vm, epoch }: Release): Decision<undefined> {
  const present = tables.locations.get(sandbox);
  if (present === undefined) return { edits: [], answer: undefined };
  if (present.vm !== vm || present.epoch !== epoch) {
    const record = `it belongs to ${present.vm} in epoch ${present.epoch}`;
    throw new ComicranError('ownership.lost', `${vm} cannot release '${sandbox}' of epoch ${epoch}: ${record}`);
  }
  const services = servicesOf(tables, sandbox).map((service): Edit => ({ kind: 'remove-service', service }));
  const announcement = tables.announcements.get(sandbox);
  const announced: Edit[] = announcement === undefined ? [] : [{ kind: 'remove-announcement', announcement }];
  return { edits: [...announced, ...services, { kind: 'remove-location', location: present }], answer: undefined };
}

export function decideSetService(tables: Tables, request: SetService): Decision<Service> {
  const location = tables.locations.get(request.sandbox);
  if (location === undefined) throw unknownSandbox(request.sandbox);
  const service: Service = { ...request, sandboxAddress: location.address };
  checkServiceIsFree(tables, service);
  const edits: Edit[] = tables.services.has(serviceKey(service)) ? [] : [{ kind: 'put-service', service }];
  return { edits, answer: service };
}

/** A service that is not there is unset. */
export function decideUnsetService(
  tables: Tables,
  key: { readonly port: number; readonly protocol: Protocol },
): Decision<undefined> {
  const service = tables.services.get(serviceKey(key));
  return { edits: service === undefined ? [] : [{ kind: 'remove-service', service }], answer: undefined };
}
