import type { Client } from '@connectrpc/connect';
import type { Sdn } from '../../api/gen/comicran_pb.ts';
import type { Log } from '../log.ts';
import type { PortPublisher } from '../publish/publisher.ts';
import type { Jailors } from '../sandboxes/jailors.ts';
import type { Lifecycle } from '../sandboxes/lifecycle.ts';
import type { Registry } from '../sandboxes/registry.ts';
import type { Engine } from './engine.ts';

/** What a migration has of its daemon, in either direction. */
export type MigrationWorld = {
  readonly vm: string;
  readonly address: string;
  readonly stateDirectory: string;
  /** How many times as long as usual is waited for others. */
  readonly patience: number;
  readonly registry: Registry;
  readonly lifecycle: Lifecycle;
  readonly jailors: Jailors;
  readonly publisher: PortPublisher;
  readonly engine: Engine;
  readonly sdn: Client<typeof Sdn>;
  /** `IP:PORT` */
  readonly sdnEndpoint: string;
  readonly log: Log;
};
