import { ComicranError } from '../base/errors.ts';
import type { DataPlane, ServiceCount } from './data-plane.ts';
import { applyChange, type KernelChange, type KernelContent, NO_CONTENT, serviceEndKey } from './plan.ts';

/** A data plane in memory, as strict as the kernel: both pass the same tests. */
export class FakeDataPlane implements DataPlane {
  #content: KernelContent = NO_CONTENT;
  readonly #isOnLink: (address: string) => boolean;

  /** @param isOnLink whether an address can be a next hop; absent: any can. */
  constructor(isOnLink: (address: string) => boolean = () => true) {
    this.#isOnLink = isOnLink;
  }

  linkTo(address: string): string {
    if (!this.#isOnLink(address)) {
      throw new ComicranError('vm.unreachable', `the sdn node has no direct way to ${address}`);
    }
    return `to-${address.split('.')[2]}`;
  }

  rehearse(): void {}

  prepare(): void {}

  read(): KernelContent {
    return this.#content;
  }

  apply(change: KernelChange): void {
    for (const { via } of change.setRoutes) this.linkTo(via);
    for (const end of change.removeTranslations) {
      if (!this.#content.translations.has(serviceEndKey(end))) throw new Error(`no service ${serviceEndKey(end)}`);
    }
    const removed = applyChange(this.#content, { ...change, setRoutes: [], addTranslations: [], removeRoutes: [] });
    for (const end of change.addTranslations) {
      if (removed.translations.has(serviceEndKey(end))) throw new Error(`service ${serviceEndKey(end)} is there`);
    }
    this.#content = applyChange(this.#content, change);
  }

  refused(): ReadonlyMap<string, bigint> {
    return new Map([...this.#content.guarded].map((address) => [address, 0n]));
  }

  counts(): ServiceCount[] {
    return [...this.#content.translations.values()].map(({ address, port, protocol }) => ({
      address,
      port,
      protocol,
      packets: 0n,
      bytes: 0n,
    }));
  }

  flush(): void {
    this.#content = NO_CONTENT;
  }

  close(): void {}
}
