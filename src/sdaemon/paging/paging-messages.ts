/** What goes between the thread that pages and those that use it. All of it can be cloned. */
import type { MessagePort } from 'node:worker_threads';
import type { FaultServiceOptions } from '../../paging/fault-service.ts';
import type { PageRun } from '../../paging/page-range.ts';
import type { ServedPages } from '../../paging/page-server.ts';
import type { ServiceCounts } from '../../paging/service-times.ts';
import type { CarriedError } from '../migration/carried-error.ts';
import type { KeptSpace, PageServerAddress } from './fault-session.ts';

export type StartFaults = {
  readonly type: 'faults';
  readonly server: PageServerAddress;
  readonly userfault: number;
  readonly pid: number | undefined;
  readonly journal: string;
  readonly missing: readonly PageRun[] | undefined;
  readonly children: readonly KeptSpace[];
  readonly service: Partial<FaultServiceOptions>;
  readonly fillsLater: boolean;
};

export type StartPages = {
  readonly type: 'pages';
  readonly pid: number;
  readonly listen: PageServerAddress;
};

/** `id` names a session; the one who starts it chooses it. */
export type ToPaging = {
  readonly id: number;
  readonly command:
    | StartFaults
    | StartPages
    | { readonly type: 'redirect'; readonly server: PageServerAddress }
    | { readonly type: 'fill' | 'counts' | 'close' };
};

export type SessionCounts = (ServiceCounts & { readonly missingPages: number }) | Readonly<ServedPages>;

export type PagingEvent =
  /** A session for faults serves. */
  | { readonly type: 'started' }
  /** A page server listens. */
  | { readonly type: 'listening'; readonly port: number }
  | { readonly type: 'child'; readonly child: KeptSpace }
  | { readonly type: 'child-ended'; readonly journal: string }
  | { readonly type: 'complete'; readonly counts: ServiceCounts }
  /** Page server: the destination misses nothing any more. */
  | { readonly type: 'done' }
  /** Faults: the source cannot bring what is missing. Pages: the process cannot be read. */
  | { readonly type: 'refused'; readonly error: CarriedError }
  | { readonly type: 'trouble'; readonly error: CarriedError }
  | { readonly type: 'counts'; readonly counts: SessionCounts }
  /** It is over: closed, or every process has ended; `error`: a bug, or it could not be started. */
  | { readonly type: 'ended'; readonly counts: SessionCounts | undefined; readonly error: CarriedError | undefined };

export type FromPaging = { readonly id: number; readonly event: PagingEvent };

/** The first message of the thread: what to signal behind each message to it (linux/wake.ts). */
export type PagingReady = { readonly type: 'ready'; readonly wake: number };

/** Of the thread that uses a port: what to signal behind each event. */
export type SetWake = { readonly type: 'wake'; readonly wake: number };

/** To the thread itself: a port for another thread that will use it. */
export type AddPort = { readonly type: 'port'; readonly port: MessagePort };
