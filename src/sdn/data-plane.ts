/**
 * The kernel objects that carry the packets, as the controller sees them: synchronous, so that a change of the owner is
 * made within one turn of the event loop, with nothing in between.
 *
 * Source validation belongs here when it comes: packets from a sandbox's address accepted through its owner's machine
 * alone, except while it migrates. It wants a set of addresses that may come either way, changed when a migration begins and
 * ends and not when the owner changes, next to a reverse path check (`fib saddr . iif oif`), which follows the route by
 * itself. Until then a machine that has lost the ownership is kept silent by its own sdaemon alone.
 */
import type { KernelChange, KernelContent, ServiceEnd } from './plan.ts';

/** Requests that came for a service since the kernel has had it; answers are not counted. */
export type ServiceCount = ServiceEnd & { readonly packets: bigint; readonly bytes: bigint };

export interface DataPlane {
  /** @throws ComicranError vm.unreachable where this address cannot be the next hop of a route. */
  checkNextHop(address: string): void;
  /** Makes what the rest stands on (the table, forwarding), where it is not so already. What is right stays. */
  prepare(): void;
  /** What is in the kernel now. @throws where somebody has taken away or changed what {@link prepare} makes. */
  read(): KernelContent;
  /**
   * Carries out a change. Setting a route that is there and removing one that is not are no failures; adding a
   * translation that is there and removing one that is not are. After a failure some of the change may have been made:
   * routes one by one, translations all or none.
   */
  apply(change: KernelChange): void;
  counts(): ServiceCount[];
  /** Removes everything of this controller from the kernel. */
  flush(): void;
  /** Leaves everything in the kernel. Idempotent. */
  close(): void;
}
