/** The thread that pages: it blocks in poll(2) for userfaultfds and connections, and carries out what others tell it. */
import { type MessagePort, parentPort } from 'node:worker_threads';
import { defined, unreachable } from '../../base/assert.ts';
import { openWake, signalWake } from '../../linux/wake.ts';
import { ProcessPages } from '../../paging/page-reader.ts';
import { hurry, MOST_HURRIED } from '../hurry.ts';
import { carry } from '../migration/carried-error.ts';
import { Readiness } from '../readiness.ts';
import { FaultSession } from './fault-session.ts';
import { PageSession } from './page-session.ts';
import type {
  AddPort,
  FromPaging,
  PagingEvent,
  PagingReady,
  SetWake,
  StartFaults,
  StartPages,
  ToPaging,
} from './paging-messages.ts';

type Session = FaultSession | PageSession;
type Tell = (event: PagingEvent) => void;

function servePaging(parent: MessagePort): void {
  const wake = openWake();
  const readiness = new Readiness(() => performance.now(), wake);
  hurry(MOST_HURRIED);
  const listen = (port: MessagePort): void => {
    const sessions = new Map<number, Session>();
    let listenersWake = -1;
    port.on('message', (message: ToPaging | AddPort | SetWake) => {
      if (!('type' in message))
        carryOut(message, sessions, readiness, (event) => {
          port.postMessage({ id: message.id, event } satisfies FromPaging);
          if (listenersWake >= 0) signalWake(listenersWake);
        });
      else if (message.type === 'port') listen(message.port);
      else listenersWake = message.wake;
    });
    // Its number may be another descriptor's from then on.
    port.on('close', () => {
      listenersWake = -1;
    });
    // A port of a thread that has ended: its sessions go on for whoever adopts them, as after a kill.
    port.unref();
  };
  listen(parent);
  parent.ref();
  parent.postMessage({ type: 'ready', wake } satisfies PagingReady);
}

function carryOut({ id, command }: ToPaging, sessions: Map<number, Session>, readiness: Readiness, tell: Tell): void {
  const session = sessions.get(id);
  switch (command.type) {
    case 'faults':
    case 'pages':
      start(id, command, sessions, readiness, tell);
      break;
    case 'redirect':
      if (session instanceof FaultSession) session.redirect(command.server);
      break;
    case 'fill':
      if (session instanceof FaultSession) session.fill();
      break;
    case 'counts':
      if (session !== undefined) tell({ type: 'counts', counts: session.counts() });
      break;
    case 'close':
      session?.close();
      break;
    default:
      unreachable(command);
  }
}

function start(
  id: number,
  command: StartFaults | StartPages,
  sessions: Map<number, Session>,
  readiness: Readiness,
  tell: Tell,
): void {
  try {
    const session =
      command.type === 'faults' ? openFaults(command, readiness, tell) : openPages(command, readiness, tell);
    sessions.set(id, session);
    const end = (): void => {
      sessions.delete(id);
      tell({ type: 'ended', counts: session.counts(), error: undefined });
    };
    const broken = (thrown: unknown): Promise<void> => {
      tell({ type: 'refused', error: carry(thrown) });
      return session.closed;
    };
    session.run().catch(broken).then(end, end);
  } catch (thrown) {
    tell({ type: 'ended', counts: undefined, error: carry(thrown) });
  }
}

function openFaults(command: StartFaults, readiness: Readiness, tell: Tell): FaultSession {
  const { pid, ...options } = command;
  const session = new FaultSession(
    { ...options, ...(pid === undefined ? {} : { pid }) },
    {
      onChild: (child) => tell({ type: 'child', child }),
      onChildEnded: (journal) => tell({ type: 'child-ended', journal }),
      onComplete: (counts) => tell({ type: 'complete', counts }),
      onRefused: (error) => tell({ type: 'refused', error: carry(error) }),
      onTrouble: (error) => tell({ type: 'trouble', error: carry(error) }),
    },
    readiness,
  );
  tell({ type: 'started' });
  return session;
}

function openPages(command: StartPages, readiness: Readiness, tell: Tell): PageSession {
  const { pid, listen } = command;
  const reader = new ProcessPages(pid);
  try {
    const session = new PageSession(
      { reader, listen },
      {
        onDone: () => tell({ type: 'done' }),
        onFailure: (error) => tell({ type: 'refused', error: carry(error) }),
      },
      readiness,
    );
    tell({ type: 'listening', port: session.port });
    return session;
  } catch (thrown) {
    reader.close();
    throw thrown;
  }
}

servePaging(defined(parentPort, 'the port of a worker thread'));
