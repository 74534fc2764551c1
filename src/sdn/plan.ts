/**
 * What the kernel has to hold, and what to change in it: values in, values out. The data plane (data-plane.ts) carries it
 * out without deciding anything.
 */
import type { Protocol } from '../base/sandbox-config.ts';
import type { Edit, Tables } from './tables.ts';

/** The host route of a sandbox. */
export type SandboxRoute = { readonly address: string; readonly via: string };

export type ServiceEnd = { readonly address: string; readonly port: number; readonly protocol: Protocol };

/** Destination address translation of a service. */
export type Translation = ServiceEnd & { readonly toAddress: string; readonly toPort: number };

export type KernelContent = {
  /** Next hop by sandbox address. */
  readonly routes: ReadonlyMap<string, string>;
  /** By {@link serviceEndKey}. */
  readonly translations: ReadonlyMap<string, Translation>;
};

/**
 * One change, carried out in the order of the fields: no packet is translated to an address that has no route. Removals
 * and additions of translations are one transaction; a translation that is replaced is in both lists.
 */
export type KernelChange = {
  readonly setRoutes: readonly SandboxRoute[];
  readonly removeTranslations: readonly ServiceEnd[];
  readonly addTranslations: readonly Translation[];
  /** Addresses of sandboxes. */
  readonly removeRoutes: readonly string[];
};

export const NO_CHANGE: KernelChange = {
  setRoutes: [],
  removeTranslations: [],
  addTranslations: [],
  removeRoutes: [],
};

export function isNoChange(change: KernelChange): boolean {
  return Object.values(change).every((list) => list.length === 0);
}

/** `10.77.0.1:5006/udp` */
export function serviceEndKey({ address, port, protocol }: ServiceEnd): string {
  return `${address}:${port}/${protocol}`;
}

/** What a change of the tables is in the kernel. A change of the owner is a route alone. */
export function changeFor(edits: readonly Edit[], serviceAddress: string): KernelChange {
  const setRoutes: SandboxRoute[] = [];
  const removeTranslations: ServiceEnd[] = [];
  const addTranslations: Translation[] = [];
  const removeRoutes: string[] = [];
  for (const edit of edits) {
    switch (edit.kind) {
      case 'put-location':
        setRoutes.push({ address: edit.location.address, via: edit.location.vmAddress });
        break;
      case 'remove-location':
        removeRoutes.push(edit.location.address);
        break;
      case 'put-service': {
        const { port, protocol, sandboxAddress, sandboxPort } = edit.service;
        const translation = { address: serviceAddress, port, protocol, toAddress: sandboxAddress, toPort: sandboxPort };
        addTranslations.push(translation);
        break;
      }
      case 'remove-service':
        removeTranslations.push({
          address: serviceAddress,
          port: edit.service.port,
          protocol: edit.service.protocol,
        });
        break;
    }
  }
  return { setRoutes, removeTranslations, addTranslations, removeRoutes };
}

/** Everything that the kernel has to hold for these tables. */
export function contentFor(tables: Tables, serviceAddress: string): KernelContent {
  const edits: Edit[] = [
    ...[...tables.locations.values()].map((location): Edit => ({ kind: 'put-location', location })),
    ...[...tables.services.values()].map((service): Edit => ({ kind: 'put-service', service })),
  ];
  const { setRoutes, addTranslations } = changeFor(edits, serviceAddress);
  return {
    routes: new Map(setRoutes.map(({ address, via }) => [address, via])),
    translations: new Map(addTranslations.map((translation) => [serviceEndKey(translation), translation])),
  };
}

/** The change that leads from what was found in the kernel to what is wanted there. */
export function reconcile(wanted: KernelContent, found: KernelContent): KernelChange {
  const stale = [...found.translations].filter(([key, { toAddress, toPort }]) => {
    const target = wanted.translations.get(key);
    return target?.toAddress !== toAddress || target.toPort !== toPort;
  });
  const staleKeys = new Set(stale.map(([key]) => key));
  return {
    setRoutes: [...wanted.routes]
      .filter(([address, via]) => found.routes.get(address) !== via)
      .map(([address, via]) => ({ address, via })),
    removeTranslations: stale.map(([, { address, port, protocol }]) => ({ address, port, protocol })),
    addTranslations: [...wanted.translations]
      .filter(([key]) => !found.translations.has(key) || staleKeys.has(key))
      .map(([, translation]) => translation),
    removeRoutes: [...found.routes.keys()].filter((address) => !wanted.routes.has(address)),
  };
}

/** What a content becomes by a change: what the kernel does, as a pure function. */
export function applyChange(content: KernelContent, change: KernelChange): KernelContent {
  const routes = new Map(content.routes);
  const translations = new Map(content.translations);
  for (const { address, via } of change.setRoutes) routes.set(address, via);
  for (const end of change.removeTranslations) translations.delete(serviceEndKey(end));
  for (const translation of change.addTranslations) translations.set(serviceEndKey(translation), translation);
  for (const address of change.removeRoutes) routes.delete(address);
  return { routes, translations };
}

/** For people and for comparisons in tests: a line an entry, sorted. */
export function describeContent({ routes, translations }: KernelContent): string[] {
  return [
    ...[...routes].map(([address, via]) => `route ${address} via ${via}`).toSorted(),
    ...[...translations.values()]
      .map((translation) => `service ${serviceEndKey(translation)} to ${translation.toAddress}:${translation.toPort}`)
      .toSorted(),
  ];
}

/** A change in words, for the log and for a dry run. */
export function describeChange(change: KernelChange): string[] {
  return [
    ...change.setRoutes.map(({ address, via }) => `set route ${address} via ${via}`),
    ...change.removeTranslations.map((end) => `remove service ${serviceEndKey(end)}`),
    ...change.addTranslations.map((to) => `add service ${serviceEndKey(to)} to ${to.toAddress}:${to.toPort}`),
    ...change.removeRoutes.map((address) => `remove route ${address}`),
  ];
}
