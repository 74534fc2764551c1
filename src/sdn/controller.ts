/**
 * The controller: decides on the tables, makes the decision durable, then changes the kernel, then answers.
 *
 *     request ─ decide (pure) ─► edits ─► record (on disk) ─► tables ─► kernel ─► answer
 *                  │                          │                            │
 *                  └ refused: nothing done    └ failed: nothing done       └ failed: record and kernel are put back
 *
 * All of it is one turn of the event loop, so that concurrent requests see each other's changes whole: that is what makes
 * the compare-and-set exact. Killed at any point, it is right again after {@link SdnController.repair}: the record decides.
 */
import { ComicranError, messageOf } from '../base/errors.ts';
import type { DataPlane, ServiceCount } from './data-plane.ts';
import {
  type Announce,
  decideAnnounce,
  decideEndMigration,
  decideLead,
  decideOpenRecord,
  decideSettle,
  type EndMigration,
  type Lead,
} from './decide-migration.ts';
import { decideTakeOver, type TakeOver } from './decide-takeover.ts';
import { type Decision, unknownSandbox } from './decision.ts';
import {
  type Claim,
  decideClaim,
  decideRelease,
  decideSetOwner,
  decideSetService,
  decideUnsetService,
  type Release,
  type SetOwner,
  type SetService,
} from './decisions.ts';
import { describeEdit, inverseOf } from './edits.ts';
import {
  changeFor,
  contentFor,
  describeChange,
  isNoChange,
  type KernelContent,
  NO_CHANGE,
  reconcile,
  type SandboxRoute,
  serviceEndKey,
} from './plan.ts';
import type { RecordStore } from './record-store.ts';
import { applyEdits, type Edit, isLate, type Location, type Service, serviceKey, type Tables } from './tables.ts';

/** Between a change of the owner and what else it brings with it. */
const SETTLE_DELAY_MS = 20;

/** Where a test can break it. */
export type FaultPoint = 'decided' | 'recorded' | 'applied';

export type ControllerOptions = {
  readonly store: RecordStore;
  readonly dataPlane: DataPlane;
  /** IPv4 address that UEs send to. */
  readonly serviceAddress: string;
  /** Unix time in milliseconds. */
  readonly nowMs: () => number;
  /** Runs something later, if the daemon still runs then. */
  readonly after: (delayMs: number, run: () => void) => void;
  /** One line a change, without a time. */
  readonly log: (line: string) => void;
  readonly fault?: (point: FaultPoint) => void;
};

export type CountedService = Service & { readonly packets: bigint; readonly bytes: bigint };

/** The compare-and-set that one record channel may ask for. */
export type Take = {
  readonly sandbox: string;
  readonly migrationId: string;
  readonly expectedEpoch: bigint;
  readonly vm: string;
  readonly vmAddress: string;
};

export class SdnController {
  readonly #options: ControllerOptions;
  #tables: Tables;
  /** Something failed on the way to the kernel: what it holds is not known. */
  #suspect = false;
  /** Addresses of sandboxes whose route could not be set. */
  readonly #unreachable = new Set<string>();
  readonly #unlogged: string[] = [];

  /** Takes the tables from the record and brings the kernel to them. */
  constructor(options: ControllerOptions) {
    this.#options = options;
    this.#tables = options.store.load();
    options.dataPlane.prepare();
    this.repair();
  }

  /**
   * Compares the kernel with the record and makes it right: after a start, after a failure, and when a link that went
   * down has taken its routes with it. @returns whether something had to be changed.
   */
  repair(): boolean {
    const { dataPlane, serviceAddress, log, nowMs } = this.#options;
    const wanted = contentFor(this.#tables, serviceAddress, nowMs());
    const change = reconcile(wanted, this.#readKernel());
    this.#suspect = true;
    // Routes one by one: a machine whose link is down must not keep the others from being reached.
    for (const route of change.setRoutes) this.#repairRoute(route);
    dataPlane.apply({ ...change, setRoutes: [] });
    this.#suspect = false;
    for (const line of describeChange({ ...change, setRoutes: [] })) log(`repair: ${line}`);
    return !isNoChange(change);
  }

  /** To be done every few seconds: {@link repair}, and routes that should have followed their owner long ago. */
  upkeep(): void {
    this.repair();
    for (const location of this.#tables.locations.values()) if (isLate(location)) this.#settle(location.sandbox);
  }

  /** A failure is logged when it begins, not each time that it is seen. */
  #repairRoute(route: SandboxRoute): void {
    const { dataPlane, log } = this.#options;
    try {
      dataPlane.apply({ ...NO_CHANGE, setRoutes: [route] });
      this.#unreachable.delete(route.address);
      log(`repair: set route ${route.address} via ${route.via}`);
    } catch (thrown) {
      if (this.#unreachable.has(route.address)) return;
      this.#unreachable.add(route.address);
      log(`repair: the route to ${route.address} via ${route.via} cannot be set: ${messageOf(thrown)}`);
    }
  }

  #readKernel(): KernelContent {
    const { dataPlane, log } = this.#options;
    try {
      return dataPlane.read();
    } catch (thrown) {
      log(`repair: the kernel's tables are not as they should be: ${messageOf(thrown)}`);
      dataPlane.prepare();
      return dataPlane.read();
    }
  }

  #carryOut<Answer>({ edits, answer }: Decision<Answer>): Answer {
    const { store, dataPlane } = this.#options;
    for (const edit of edits) {
      if (edit.kind === 'put-location' || edit.kind === 'set-owner') dataPlane.linkTo(edit.location.vmAddress);
    }
    this.#change({ edits, answer }, () => store.write(edits));
    this.#logChanges();
    return answer;
  }

  #change({ edits }: Decision<unknown>, write: () => void): void {
    const { dataPlane, serviceAddress, fault } = this.#options;
    if (edits.length === 0) return;
    if (this.#suspect) this.repair();
    const before = this.#tables;
    fault?.('decided');
    write();
    this.#tables = applyEdits(before, edits);
    fault?.('recorded');
    try {
      dataPlane.apply(changeFor(edits, serviceAddress));
    } catch (cause) {
      this.#takeBack(edits, before, cause);
    }
    fault?.('applied');
    this.#unlogged.push(...edits.map((edit) => describeEdit(edit, before)));
  }

  /** Apart from the change, because somebody may wait for its answer. */
  #logChanges(): void {
    for (const line of this.#unlogged.splice(0)) this.#options.log(line);
  }

  /** Nobody has seen the new record yet: this is still the same turn of the event loop. */
  #takeBack(edits: readonly Edit[], before: Tables, cause: unknown): never {
    const { store, log } = this.#options;
    const problem = `the kernel of the sdn node refused the change: ${messageOf(cause)}`;
    log(problem);
    this.#suspect = true;
    let outcome = 'Nothing has been changed.';
    try {
      const inverse = inverseOf(edits, before);
      store.write(inverse);
      this.#tables = applyEdits(this.#tables, inverse);
    } catch (thrown) {
      log(`the change cannot be taken back, the record stands: ${messageOf(thrown)}`);
      outcome = 'The record has been changed all the same, and the kernel will be made to follow.';
    }
    try {
      this.repair();
    } catch (thrown) {
      log(`repair: failed, will be tried again: ${messageOf(thrown)}`);
    }
    throw new ComicranError('peer.refused', problem, { cause, hint: outcome });
  }

  claim(claim: Claim): { readonly location: Location; readonly services: readonly Service[] } {
    return this.#carryOut(decideClaim(this.#tables, claim, this.#options.serviceAddress));
  }

  setOwner(request: SetOwner): { readonly changed: boolean; readonly location: Location } {
    const decision = decideSetOwner(this.#tables, request);
    // By a record channel it may be the owner since a moment that the disk has not seen.
    if (decision.edits.length === 0) this.#options.store.flush();
    const answer = this.#carryOut(decision);
    if (!answer.changed) this.#logRefused(request, answer.location);
    else this.#settleLater(request.sandbox);
    return answer;
  }

  /**
   * The compare-and-set of a record channel. The destination of a migration is answered before the disk has it: that the
   * migration is announced is on the disk, and the destination asks again by {@link setOwner}
   * (docs/decisions/record-before-disk.md). Everybody else is answered afterwards.
   */
  take(take: Take): Location {
    const present = this.#tables.locations.get(take.sandbox);
    const decision = decideSetOwner(this.#tables, take);
    if (decision.edits.length === 0 || present?.vm === take.vm) return this.setOwner(take).location;
    this.#changeSoon(decision, take.sandbox);
    return decision.answer.location;
  }

  /**
   * Leads the packets for a sandbox to its owner, which has taken it in a migration whose route follows later. Answered
   * before the disk has it: until the migration is ended, which leads as well, the owner is there to say it again.
   */
  lead(lead: Lead): Location {
    const decision = decideLead(this.#tables, lead);
    if (decision.edits.length > 0) this.#changeSoon(decision, lead.sandbox);
    return decision.answer;
  }

  #changeSoon(decision: Decision<unknown>, sandbox: string): void {
    const { store, log, after } = this.#options;
    this.#change(decision, () => store.writeSoon(decision.edits));
    // Behind the answer, which must not wait for another thread to be woken.
    after(0, () => {
      store.flush((failure) => {
        if (failure !== undefined) log(`the record does not get to the disk: ${failure.message}`);
      });
      this.#settleLater(sandbox);
    });
  }

  /** On the disk and in the kernel, all of it, when it has returned. @throws ComicranError as {@link decideTakeOver} */
  takeOver(request: Omit<TakeOver, 'ownerLink' | 'link'>): { readonly changed: boolean; readonly location: Location } {
    const { dataPlane, store } = this.#options;
    const owner = this.#tables.locations.get(request.sandbox);
    const ownerLink = owner === undefined ? undefined : this.#linkTo(owner.vmAddress);
    const link = dataPlane.linkTo(request.vmAddress);
    const decision = decideTakeOver(this.#tables, { ...request, ownerLink, link });
    // By a record channel it may be the owner since a moment that the disk has not seen.
    if (decision.edits.length === 0) store.flush();
    const answer = this.#carryOut(decision);
    if (!answer.changed) this.#logRefused(request, answer.location);
    return answer;
  }

  /** @returns undefined: no link leads there any more. */
  #linkTo(address: string): string | undefined {
    try {
      return this.#options.dataPlane.linkTo(address);
    } catch (thrown) {
      if (thrown instanceof ComicranError) return undefined;
      throw thrown;
    }
  }

  /** The destination of a migration has taken, and gives back. @param expectedEpoch the one that it has. */
  giveBack(take: Take, expectedEpoch: bigint): Location {
    const { sandbox, migrationId, vm: by } = take;
    const vm = this.#tables.announcements.get(sandbox)?.from ?? this.#tables.locations.get(sandbox)?.vm ?? by;
    return this.setOwner({ sandbox, expectedEpoch, vm, vmAddress: '', by, migrationId }).location;
  }

  /** What {@link take} does to the disk and the kernel, without its effect. @returns the record. */
  rehearse({ sandbox }: Take): Location {
    const location = this.#tables.locations.get(sandbox);
    if (location === undefined) throw unknownSandbox(sandbox);
    const { store, dataPlane } = this.#options;
    store.rehearse({ kind: 'set-owner', location });
    dataPlane.rehearse({ address: location.address, via: location.vmAddress });
    return location;
  }

  /** Not at once: what the former owner has sent is on its way, and the new one has more urgent things to do. */
  #settleLater(sandbox: string): void {
    this.#options.after(SETTLE_DELAY_MS, () => this.#settle(sandbox));
  }

  #settle(sandbox: string): void {
    const { nowMs, log } = this.#options;
    try {
      this.#logChanges();
      this.#carryOut(decideSettle(this.#tables, sandbox, nowMs()));
    } catch (thrown) {
      log(`${sandbox}: packets of its former owner are taken for some time yet: ${messageOf(thrown)}`);
    }
  }

  announce(announce: Announce): void {
    this.#carryOut(decideAnnounce(this.#tables, announce));
  }

  endMigration(end: EndMigration): void {
    this.#carryOut(decideEndMigration(this.#tables, end));
  }

  /** Whether this compare-and-set may have a record channel. @returns until when, Unix time in milliseconds. */
  openRecord({ sandbox, migrationId, expectedEpoch, vm, vmAddress }: Take): number {
    const { dataPlane } = this.#options;
    const link = dataPlane.linkTo(vmAddress);
    const owner = this.#tables.locations.get(sandbox);
    const ownerLink = owner === undefined ? link : dataPlane.linkTo(owner.vmAddress);
    const request = { sandbox, migrationId, expectedEpoch, vm, ownerLink, link };
    return this.#carryOut(decideOpenRecord(this.#tables, request)).untilMs;
  }

  #logRefused(request: Pick<SetOwner, 'sandbox' | 'vm' | 'expectedEpoch'>, { vm, epoch }: Location): void {
    const record = `it belongs to ${vm} in epoch ${epoch}`;
    this.#options.log(`${request.sandbox}: ${request.vm} is refused for epoch ${request.expectedEpoch}: ${record}`);
  }

  release(request: Release): void {
    this.#carryOut(decideRelease(this.#tables, request));
  }

  setService(request: SetService): Service {
    return this.#carryOut(decideSetService(this.#tables, request));
  }

  unsetService(key: Pick<Service, 'port' | 'protocol'>): void {
    this.#carryOut(decideUnsetService(this.#tables, key));
  }

  locate(sandbox: string): Location | undefined {
    return this.#tables.locations.get(sandbox);
  }

  locations(): Location[] {
    return [...this.#tables.locations.values()].toSorted((a, b) => a.sandbox.localeCompare(b.sandbox));
  }

  service(key: Pick<Service, 'port' | 'protocol'>): Service | undefined {
    return this.#tables.services.get(serviceKey(key));
  }

  /** Packets that came from elsewhere than the sandbox's owner and were dropped, by sandbox. */
  refusedPackets(): Map<string, bigint> {
    const refused = this.#options.dataPlane.refused();
    const locations = [...this.#tables.locations.values()];
    return new Map(locations.map(({ sandbox, address }) => [sandbox, refused.get(address) ?? 0n]));
  }

  /** Every service with its requests counted, by port. */
  services(): CountedService[] {
    const counts = new Map(this.#options.dataPlane.counts().map((count) => [serviceEndKey(count), count] as const));
    const countOf = (service: Service): ServiceCount | undefined =>
      counts.get(serviceEndKey({ ...service, address: this.#options.serviceAddress }));
    return [...this.#tables.services.values()]
      .toSorted((a, b) => a.port - b.port || a.protocol.localeCompare(b.protocol))
      .map((service) => {
        const count = countOf(service);
        return { ...service, packets: count?.packets ?? 0n, bytes: count?.bytes ?? 0n };
      });
  }

  get serviceAddress(): string {
    return this.#options.serviceAddress;
  }
}
