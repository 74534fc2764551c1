/**
 * What the kernel has to hold, and what to change in it: values in, values out. The data plane (data-plane.ts) carries it
 * out without deciding anything.
 */
import type { Protocol } from '../base/sandbox-config.ts';
import { type Announcement, type Edit, isLate, type Tables } from './tables.ts';

/** The host route of a sandbox. */
export type SandboxRoute = { readonly address: string; readonly via: string };

export type ServiceEnd = { readonly address: string; readonly port: number; readonly protocol: Protocol };

/** Destination address translation of a service. */
export type Translation = ServiceEnd & { readonly toAddress: string; readonly toPort: number };

/** A link through which a sandbox's packets are taken, although its route leads through another one. */
export type Passage = {
  readonly address: string;
  readonly link: string;
  /** Unix time in milliseconds. The kernel ends it by itself, in whole seconds. */
  readonly untilMs: number;
};

export type KernelContent = {
  /** Next hop by sandbox address. */
  readonly routes: ReadonlyMap<string, string>;
  /** By {@link serviceEndKey}. */
  readonly translations: ReadonlyMap<string, Translation>;
  /** Addresses whose packets are taken through the link of their route alone, and through the passages. */
  readonly guarded: ReadonlySet<string>;
  /** By {@link passageKey}. */
  readonly passages: ReadonlyMap<string, Passage>;
};

export const NO_CONTENT: KernelContent = {
  routes: new Map(),
  translations: new Map(),
  guarded: new Set(),
  passages: new Map(),
};

/**
 * One change, carried out in the order of the fields: no packet is translated to an address that has no route. What lies
 * between the routes is one transaction; a translation that is replaced is in both lists, and so may a passage be.
 */
export type KernelChange = {
  readonly setRoutes: readonly SandboxRoute[];
  readonly removeTranslations: readonly ServiceEnd[];
  readonly addTranslations: readonly Translation[];
  /** Addresses. One that is guarded already stays so, and its count goes on. */
  readonly guard: readonly string[];
  readonly unguard: readonly string[];
  /** One that is not there any more is none that fails. */
  readonly removePassages: readonly Passage[];
  readonly setPassages: readonly Passage[];
  /** Addresses of sandboxes. */
  readonly removeRoutes: readonly string[];
};

export const NO_CHANGE: KernelChange = {
  setRoutes: [],
  removeTranslations: [],
  addTranslations: [],
  guard: [],
  unguard: [],
  removePassages: [],
  setPassages: [],
  removeRoutes: [],
};

export function isNoChange(change: KernelChange): boolean {
  return Object.values(change).every((list) => list.length === 0);
}

/** `10.77.0.1:5006/udp` */
export function serviceEndKey({ address, port, protocol }: ServiceEnd): string {
  return `${address}:${port}/${protocol}`;
}

/** `10.88.0.5 from vm1` */
export function passageKey({ address, link }: Pick<Passage, 'address' | 'link'>): string {
  return `${address} from ${link}`;
}

/** None before the destination has opened its record channel. Machines behind one link are not told apart. */
function passagesOf({ address, fromLink, toLink, untilMs }: Announcement): Passage[] {
  const links = toLink === '' ? [] : [...new Set([fromLink, toLink])];
  return links.map((link) => ({ address, link, untilMs }));
}

/**
 * What a change of the tables is in the kernel. A change of the owner is a route alone, or, where its packets are to follow
 * later, nothing: which link a sandbox's packets may come from, the kernel asks its routes.
 */
export function changeFor(edits: readonly Edit[], serviceAddress: string): KernelChange {
  const setRoutes: SandboxRoute[] = [];
  const removeTranslations: ServiceEnd[] = [];
  const addTranslations: Translation[] = [];
  const guard: string[] = [];
  const unguard: string[] = [];
  const removePassages: Passage[] = [];
  const setPassages: Passage[] = [];
  const removeRoutes: string[] = [];
  for (const edit of edits) {
    switch (edit.kind) {
      case 'put-location':
        guard.push(edit.location.address);
        setRoutes.push({ address: edit.location.address, via: edit.location.via });
        break;
      case 'set-owner':
        if (!isLate(edit.location)) setRoutes.push({ address: edit.location.address, via: edit.location.via });
        break;
      case 'put-announcement':
        setPassages.push(...passagesOf(edit.announcement));
        break;
      case 'remove-announcement':
        removePassages.push(...passagesOf(edit.announcement));
        break;
      case 'remove-location':
        unguard.push(edit.location.address);
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
  const translations = { removeTranslations, addTranslations };
  return { setRoutes, ...translations, guard, unguard, removePassages, setPassages, removeRoutes };
}

/** Everything that the kernel has to hold for these tables. Passages that are over are not in it. */
export function contentFor(tables: Tables, serviceAddress: string, nowMs: number): KernelContent {
  const edits: Edit[] = [
    ...[...tables.locations.values()].map((location): Edit => ({ kind: 'put-location', location })),
    ...[...tables.services.values()].map((service): Edit => ({ kind: 'put-service', service })),
  ];
  const { setRoutes, addTranslations, guard } = changeFor(edits, serviceAddress);
  const passages = [...tables.announcements.values()].flatMap(passagesOf).filter(({ untilMs }) => untilMs > nowMs);
  return {
    routes: new Map(setRoutes.map(({ address, via }) => [address, via])),
    translations: new Map(addTranslations.map((translation) => [serviceEndKey(translation), translation])),
    guarded: new Set(guard),
    passages: new Map(passages.map((passage) => [passageKey(passage), passage])),
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
    guard: [...wanted.guarded].filter((address) => !found.guarded.has(address)),
    unguard: [...found.guarded].filter((address) => !wanted.guarded.has(address)),
    removePassages: [...found.passages].filter(([key]) => !wanted.passages.has(key)).map(([, passage]) => passage),
    setPassages: [...wanted.passages].filter(([key]) => !found.passages.has(key)).map(([, passage]) => passage),
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
  const guarded = new Set(content.guarded);
  for (const address of change.guard) guarded.add(address);
  for (const address of change.unguard) guarded.delete(address);
  const passages = new Map(content.passages);
  for (const passage of change.removePassages) passages.delete(passageKey(passage));
  for (const passage of change.setPassages) passages.set(passageKey(passage), passage);
  for (const address of change.removeRoutes) routes.delete(address);
  return { routes, translations, guarded, passages };
}

/** For people and for comparisons in tests: a line an entry, sorted. */
export function describeContent({ routes, translations, guarded, passages }: KernelContent): string[] {
  return [
    ...[...guarded].map((address) => `guard ${address}`).toSorted(),
    ...[...passages.keys()].map((key) => `passage of ${key}`).toSorted(),
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
    ...change.guard.map((address) => `guard ${address}`),
    ...change.unguard.map((address) => `stop guarding ${address}`),
    ...change.removePassages.map((passage) => `end passage of ${passageKey(passage)}`),
    ...change.setPassages.map((passage) => `passage of ${passageKey(passage)}`),
    ...change.removeRoutes.map((address) => `remove route ${address}`),
  ];
}
