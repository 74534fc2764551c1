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
  type Claim,
  type Decision,
  decideClaim,
  decideRelease,
  decideSetOwner,
  decideSetService,
  decideUnsetService,
  type Release,
  type SetOwner,
  type SetService,
} from './decisions.ts';
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
import { applyEdits, type Edit, type Location, type Service, serviceKey, type Tables } from './tables.ts';

/** Where a test can break it. */
export type FaultPoint = 'decided' | 'recorded' | 'applied';

export type ControllerOptions = {
  readonly store: RecordStore;
  readonly dataPlane: DataPlane;
  /** IPv4 address that UEs send to. */
  readonly serviceAddress: string;
  /** One line a change, without a time. */
  readonly log: (line: string) => void;
  readonly fault?: (point: FaultPoint) => void;
};

export type CountedService = Service & { readonly packets: bigint; readonly bytes: bigint };

/** The edits that take back edits, by the tables from before. */
function inverseOf(edits: readonly Edit[], before: Tables): Edit[] {
  return edits.toReversed().map((edit): Edit => {
    if (edit.kind === 'put-location' || edit.kind === 'remove-location') {
      const location = before.locations.get(edit.location.sandbox);
      return location === undefined
        ? { kind: 'remove-location', location: edit.location }
        : { kind: 'put-location', location };
    }
    const service = before.services.get(serviceKey(edit.service));
    return service === undefined ? { kind: 'remove-service', service: edit.service } : { kind: 'put-service', service };
  });
}

function describeEdit(edit: Edit, before: Tables): string {
  switch (edit.kind) {
    case 'put-location': {
      const { sandbox, address, vm, vmAddress, epoch, migrationId } = edit.location;
      const former = before.locations.get(sandbox);
      const from = former === undefined ? 'new' : `from ${former.vm}, epoch ${former.epoch}`;
      const why = migrationId === '' ? '' : ` (migration ${migrationId})`;
      return `${sandbox} ${address} on ${vm} via ${vmAddress}, epoch ${epoch}: ${from}${why}`;
    }
    case 'remove-location':
      return `${edit.location.sandbox} ${edit.location.address} ended on ${edit.location.vm}`;
    case 'put-service':
      return `service ${serviceKey(edit.service)} leads to ${edit.service.sandbox} port ${edit.service.sandboxPort}`;
    case 'remove-service':
      return `service ${serviceKey(edit.service)} of ${edit.service.sandbox} ended`;
  }
}

export class SdnController {
  readonly #options: ControllerOptions;
  #tables: Tables;
  /** Something failed on the way to the kernel: what it holds is not known. */
  #suspect = false;
  /** Addresses of sandboxes whose route could not be set. */
  readonly #unreachable = new Set<string>();

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
    const { dataPlane, serviceAddress, log } = this.#options;
    const wanted = contentFor(this.#tables, serviceAddress);
    const change = reconcile(wanted, this.#readKernel());
    this.#suspect = true;
    // Routes one by one: a machine whose link is down must not keep the others from being reached.
    for (const route of change.setRoutes) this.#repairRoute(route);
    dataPlane.apply({ ...change, setRoutes: [] });
    this.#suspect = false;
    for (const line of describeChange({ ...change, setRoutes: [] })) log(`repair: ${line}`);
    return !isNoChange(change);
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
    const { store, dataPlane, serviceAddress, log, fault } = this.#options;
    if (edits.length === 0) return answer;
    if (this.#suspect) this.repair();
    for (const edit of edits) {
      if (edit.kind === 'put-location') dataPlane.checkNextHop(edit.location.vmAddress);
    }
    const before = this.#tables;
    fault?.('decided');
    store.write(edits);
    this.#tables = applyEdits(before, edits);
    fault?.('recorded');
    try {
      dataPlane.apply(changeFor(edits, serviceAddress));
    } catch (cause) {
      this.#takeBack(edits, before, cause);
    }
    fault?.('applied');
    for (const edit of edits) log(describeEdit(edit, before));
    return answer;
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
    const answer = this.#carryOut(decision);
    if (!answer.changed) {
      const { vm, epoch } = answer.location;
      const record = `it belongs to ${vm} in epoch ${epoch}`;
      this.#options.log(`${request.sandbox}: ${request.vm} is refused for epoch ${request.expectedEpoch}: ${record}`);
    }
    return answer;
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
