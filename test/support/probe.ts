/** Single requests to the counting server, from the lab's user equipment. */
import { once } from 'node:events';
import { labLayout } from '../../src/lab/layout.ts';
import { closeFd, openNetns } from '../../src/linux/netns.ts';
import { udpSocketIn } from './udp.ts';

const PATIENCE_MS = 20_000;

/** How many requests the server has processed, the one that asks for it included. @param service `IP:PORT` */
export async function askCount(service: string): Promise<number> {
  const { nodes } = labLayout();
  const ue = nodes.find(({ name }) => name === 'ue')!;
  const netns = openNetns({ name: ue.netns });
  const socket = udpSocketIn(netns, ue.addresses[0]!);
  try {
    const [address, port] = service.split(':');
    const answered = once(socket, 'message', { signal: AbortSignal.timeout(PATIENCE_MS) });
    socket.send('12', Number(port), address);
    const [answer] = (await answered) as [Buffer];
    const match = /^144 (\d+)$/.exec(answer.toString('latin1').trim());
    if (match === null) throw new Error(`the server answers '${answer.toString('latin1')}'`);
    return Number(match[1]);
  } finally {
    socket.close();
    closeFd(netns);
  }
}
