import type { NetworkSpec } from '../../base/sandbox-config.ts';

/** Makes ports of a sandbox reachable at the machine's own address, without an SDN node. */
export interface PortPublisher {
  /** Replaces what was published for the sandbox. @throws ComicranError service.in-use */
  publish(id: string, network: NetworkSpec): Promise<void>;
  unpublish(id: string): Promise<void>;
}
