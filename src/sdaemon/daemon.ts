/** A virtual machine's daemon, put together. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from '../api/client.ts';
import { Sdaemon, Sdn } from '../api/gen/comicran_pb.ts';
import { loadIdentity } from '../api/identity.ts';
import { serve } from '../api/server.ts';
import { Cleanup } from '../base/cleanup.ts';
import { ComicranError, messageOf } from '../base/errors.ts';
import { storeDirectory } from '../jailor/naming.ts';
import { probeKernel } from '../linux/kernel-facts.ts';
import { beginStamping } from '../linux/kernel-stamp.ts';
import { closeDescriptor } from '../linux/pidfd.ts';
import { raiseReceiveBuffers } from './dataplane/receive-buffers.ts';
import { Arrivals } from './files/arrivals.ts';
import { describeBug, sdaemonRoutes } from './handlers.ts';
import { HURRIED, hurry } from './hurry.ts';
import type { Log } from './log.ts';
import { Engine } from './migration/engine.ts';
import { History } from './migration/history.ts';
import { Incoming } from './migration/incoming.ts';
import { Outgoing } from './migration/outgoing.ts';
import { Peers } from './migration/peers.ts';
import { recoverMigrations } from './migration/recovery.ts';
import type { DaemonOptions } from './options.ts';
import { PagingThread } from './paging/paging.ts';
import { NftPublisher } from './publish/nft-publisher.ts';
import { retry } from './retry.ts';
import { JailorProcesses } from './sandboxes/jailor-processes.ts';
import { Lifecycle } from './sandboxes/lifecycle.ts';
import { Registry } from './sandboxes/registry.ts';

export interface Daemon {
  /** `IP:PORT` as it is listened on. */
  readonly endpoint: string;
  /** Sandboxes go on; a daemon that starts again finds them. */
  close(): Promise<void>;
}

function ownVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** Resolves when the daemon answers calls: sandboxes and migrations of an earlier run have been found by then. */
export async function startDaemon(options: DaemonOptions, log: Log): Promise<Daemon> {
  const { name: vm, address, state: stateDirectory, patience } = options;
  const identity = loadIdentity(options.pki, vm);
  const cleanup = new Cleanup();
  const stopping = new AbortController();
  cleanup.defer('stop waiting', () => stopping.abort());

  const sdnConnection = connect(Sdn, { endpoint: options.sdn, identity, peer: { role: 'sdn' }, patience });
  cleanup.defer('close the connection to the sdn', () => sdnConnection.close());
  const sdn = sdnConnection.client;
  const peers = new Peers((peer, endpoint) =>
    connect(Sdaemon, { endpoint, identity, peer: { role: 'sdaemon', vm: peer }, patience }),
  );
  cleanup.defer('close the connections to other machines', () => peers.close());
  const paging = await PagingThread.start();
  cleanup.defer('end the paging thread', () => paging.close());
  // For replicated migrations, which find packets again by their stamps: each in its own time would begin too late.
  const stamping = beginStamping();
  cleanup.defer('end stamping', () => closeDescriptor(stamping));
  const engine = new Engine(options.fault, paging);
  cleanup.defer('end the migration workers', () => engine.close());
  engine.warm();
  hurry(HURRIED);

  const registry = new Registry();
  const jailors = new JailorProcesses(stateDirectory, log);
  const publisher = new NftPublisher(address);
  const world = {
    vm,
    address,
    stateDirectory,
    patience,
    registry,
    jailors,
    publisher,
    engine,
    sdn,
    sdnEndpoint: options.sdn,
    log,
    history: new History(join(stateDirectory, 'migration-history.json'), log, () => Date.now()),
  };
  const lifecycle = new Lifecycle({
    ...world,
    raiseBuffers: (pid) => void raiseReceiveBuffers(pid),
    stopping: stopping.signal,
  });
  const outgoing = new Outgoing({ ...world, lifecycle, peer: (peer, endpoint) => peers.get(peer, endpoint) });
  const incoming = new Incoming({ ...world, lifecycle, facts: probeKernel() });

  try {
    // What runs here goes on in any case; who owns it only the sdn can say.
    await retry(
      async () => {
        await sdnConnection.warm();
        await recoverMigrations({
          ...world,
          behind: (id, sandbox, ended) => incoming.follow(id, sandbox, ended),
          isBehind: (id) => incoming.follows(id),
        });
        await lifecycle.adoptAll();
      },
      {
        ...{ firstPauseMs: 250, longestPauseMs: 5_000, signal: stopping.signal },
        onFailure: (thrown) => {
          const silent = thrown instanceof ComicranError && ['sdn.unreachable', 'deadline'].includes(thrown.code);
          if (!silent) throw thrown;
          log(`waiting for the sdn at ${options.sdn}: ${messageOf(thrown)}`);
        },
      },
    );
    const arrivals = new Arrivals(storeDirectory(stateDirectory), log);
    cleanup.defer('give up the files that are coming', () => arrivals.close());
    const handlers = { ...world, version: ownVersion(), lifecycle, outgoing, incoming, arrivals };
    const server = await serve({
      listen: options.listen,
      identity,
      routes: (router) => sdaemonRoutes(router, handlers),
      onBug: (call, thrown) => log(describeBug(call, thrown)),
    });
    cleanup.defer('stop listening', () => server.close());
    log(`sdaemon of ${vm} listens on ${server.endpoint}`);
    return {
      endpoint: server.endpoint,
      async close() {
        for (const failure of await cleanup.run()) log(messageOf(failure));
      },
    };
  } catch (thrown) {
    await cleanup.run();
    throw thrown;
  }
}
