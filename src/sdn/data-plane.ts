/**
 * The kernel objects that carry the packets, as the controller sees them: synchronous, so that a change of the owner is
 * made within one turn of the event loop, with nothing in between.
 */
import type { KernelChange, KernelContent, SandboxRoute, ServiceEnd } from './plan.ts';

/** Requests that came for a service since the kernel has had it; answers are not counted. */
export type ServiceCount = ServiceEnd & { readonly packets: bigint; readonly bytes: bigint };

export interface DataPlane {
  /**
   * The link that leads to a machine.
   * @throws ComicranError vm.unreachable where this address cannot be the next hop of a route.
   */
  linkTo(address: string): string;
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
  /** Does what setting a route does, for a route that no packet asks for and that is gone afterwards. */
  rehearse(route: SandboxRoute): void;
  counts(): ServiceCount[];
  /** Packets that came in through another link than their sandbox's owner's and were dropped, by guarded address. */
  refused(): ReadonlyMap<string, bigint>;
  /** Removes everything of this controller from the kernel. */
  flush(): void;
  /** Leaves everything in the kernel. Idempotent. */
  close(): void;
}
