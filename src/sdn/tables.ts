/**
 * The two tables of the controller, as values. A decision (decisions.ts) yields edits; the same edits go, in this order,
 * into the durable record (record-store.ts), the tables here, and the kernel (plan.ts).
 */
import type { Protocol } from '../base/sandbox-config.ts';

/** Which machine a sandbox runs on: the record of ownership. */
export type Location = {
  readonly sandbox: string;
  /** IPv4, a /32 that is the sandbox's for life. */
  readonly address: string;
  readonly vm: string;
  /** IPv4 of the machine, a next hop of the sdn node. */
  readonly vmAddress: string;
  /** Grows with every change of the owner. Never used twice for a name, also not after the sandbox has ended. */
  readonly epoch: bigint;
  /** The migration that made this owner; empty where none has. */
  readonly migrationId: string;
  /**
   * Next hop of the packets for the sandbox: `vmAddress`, but for the time between a change of the owner that leaves them
   * where they went and the word of the new owner's.
   */
  readonly via: string;
};

/** Its packets do not go to the owner yet. */
export function isLate({ via, vmAddress }: Location): boolean {
  return via !== vmAddress;
}

/** A migration that the owner has announced: its destination may take the ownership. One a sandbox, the latest. */
export type Announcement = {
  readonly sandbox: string;
  /** Of the sandbox. */
  readonly address: string;
  readonly migrationId: string;
  /** Of the record when it was announced. The right to take it is over with this epoch. */
  readonly epoch: bigint;
  readonly from: string;
  readonly to: string;
  /** Of the machine that announced it. */
  readonly fromAddress: string;
  /** Links of the sdn node that lead to both machines; empty until the destination has opened its record channel. */
  readonly fromLink: string;
  readonly toLink: string;
  /** The sandbox's packets are taken from both links until then. Unix time in milliseconds. */
  readonly untilMs: number;
  /**
   * The sdn node was started anew while the destination could take the ownership: whether it was told that it owns is
   * for the destination to say (docs/decisions/record-before-disk.md).
   */
  readonly undecided: boolean;
  /** The destination takes without the packets for the sandbox; it says when they are to follow. */
  readonly lateRoute: boolean;
};

/** Where a port of the service address leads. */
export type Service = {
  readonly port: number;
  readonly protocol: Protocol;
  readonly sandbox: string;
  readonly sandboxAddress: string;
  readonly sandboxPort: number;
};

export type Tables = {
  /** By sandbox. */
  readonly locations: ReadonlyMap<string, Location>;
  /** By {@link serviceKey}. */
  readonly services: ReadonlyMap<string, Service>;
  /** By sandbox. */
  readonly announcements: ReadonlyMap<string, Announcement>;
  /** The highest epoch of a sandbox that has ended. */
  readonly endedEpoch: bigint;
};

export const EMPTY_TABLES: Tables = {
  locations: new Map(),
  services: new Map(),
  announcements: new Map(),
  endedEpoch: 0n,
};

export type Edit =
  /** A sandbox that is new, or whose machine has another address. */
  | { readonly kind: 'put-location'; readonly location: Location }
  /** One that is there gets another owner or epoch, or its packets come to where the owner is. */
  | { readonly kind: 'set-owner'; readonly location: Location }
  | { readonly kind: 'remove-location'; readonly location: Location }
  | { readonly kind: 'put-service'; readonly service: Service }
  | { readonly kind: 'remove-service'; readonly service: Service }
  | { readonly kind: 'put-announcement'; readonly announcement: Announcement }
  | { readonly kind: 'remove-announcement'; readonly announcement: Announcement };

/** `5006/udp` */
export function serviceKey(service: { readonly port: number; readonly protocol: Protocol }): string {
  return `${service.port}/${service.protocol}`;
}

export function applyEdits(tables: Tables, edits: readonly Edit[]): Tables {
  const locations = new Map(tables.locations);
  const services = new Map(tables.services);
  const announcements = new Map(tables.announcements);
  let { endedEpoch } = tables;
  for (const edit of edits) {
    switch (edit.kind) {
      case 'put-location':
      case 'set-owner':
        locations.set(edit.location.sandbox, edit.location);
        break;
      case 'remove-location':
        locations.delete(edit.location.sandbox);
        if (edit.location.epoch > endedEpoch) endedEpoch = edit.location.epoch;
        break;
      case 'put-service':
        services.set(serviceKey(edit.service), edit.service);
        break;
      case 'remove-service':
        services.delete(serviceKey(edit.service));
        break;
      case 'put-announcement':
        announcements.set(edit.announcement.sandbox, edit.announcement);
        break;
      case 'remove-announcement':
        announcements.delete(edit.announcement.sandbox);
        break;
    }
  }
  return { locations, services, announcements, endedEpoch };
}

/** The services that lead to a sandbox, by port. */
export function servicesOf(tables: Tables, sandbox: string): Service[] {
  return [...tables.services.values()]
    .filter((service) => service.sandbox === sandbox)
    .toSorted((a, b) => a.port - b.port || a.protocol.localeCompare(b.protocol));
}
