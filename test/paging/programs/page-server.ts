/** A page server in a process of its own, for another network namespace. Arguments: PID, IPv4 address, key in hexadecimal. */

import { ipv4Bytes } from '../../../src/base/ipv4.ts';
import { PagingClient, PagingThread } from '../../../src/sdaemon/paging/paging.ts';

const [pid = '', address = '', key = ''] = process.argv.slice(2);
const client = new PagingClient((await PagingThread.start()).newPort());
const serving = await client.servePages({
  pid: Number(pid),
  listen: { address: Buffer.from(ipv4Bytes(address)), port: 0, key: Buffer.from(key, 'hex') },
  onDone: () => undefined,
  onFailure: (error) => process.stderr.write(`${error.message}\n`),
});
process.stdout.write(`${serving.port}\n`);
