/** The program of call-migrate.ts: in the SDN node's network namespace, from where every daemon is reached. */
import { connect } from '../../src/api/client.ts';
import { Sdaemon } from '../../src/api/gen/comicran_pb.ts';
import { loadIdentity } from '../../src/api/identity.ts';
import { ComicranError } from '../../src/base/errors.ts';
import { enterNetworkNamespace } from '../../src/linux/netns.ts';

type Call = {
  readonly hub: string;
  readonly pki: string;
  readonly vm: string;
  readonly endpoint: string;
  readonly name: string;
  readonly toVm: string;
  readonly toEndpoint: string;
};

const { hub, pki, vm, endpoint, name, toVm, toEndpoint } = JSON.parse(process.argv[2]!) as Call;
enterNetworkNamespace({ name: hub });
const identity = loadIdentity(pki, 'smanager');
const connection = connect(Sdaemon, { endpoint, identity, peer: { role: 'sdaemon', vm } });
try {
  for await (const { event } of connection.client.migrate({ name, toVm, toEndpoint }))
    if (event.case === 'failure') process.stdout.write(event.value.code);
    else if (event.case === 'result') process.stdout.write('moved');
} catch (thrown) {
  process.stdout.write(thrown instanceof ComicranError ? thrown.code : String(thrown));
} finally {
  connection.close();
}
