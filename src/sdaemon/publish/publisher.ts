import type { NetworkSpec } from '../../base/sandbox-config.ts';

/** Makes ports of a sandbox reachable at the machine's own address, without an SDN node. */
export interface PortPublisher {
  /** @throws ComicranError service.in-use where {@link publish} would be refused. */
  check(id: string, network: NetworkSpec): void;
  /** Replaces what was published for the sandbox. @throws ComicranError service.in-use */
  publish(id: string, network: NetworkSpec): Promise<void>;
  unpublish(id: string): Promise<void>;
}
