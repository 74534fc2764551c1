/** Single requests to the counting server, from the lab's user equipment. */
import { once } from 'node:events';
import { labLayout } from '../../src/lab/layout.ts';
import { closeFd, openNetns } from '../../src/linux/netns.ts';
import { udpSocketIn } from './udp.ts';

const PATIENCE_MS = 20_000;

/** Asks once a second until there is an answer. @throws where none comes in the end */
export async function untilAnswered(service: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await askCount(service, 1_000);
      return;
    } catch (thrown) {
      if (tries === PATIENCE_MS / 1_000) throw thrown;
    }
  }
}

/** How many requests the server has processed, the one that asks for it included. @param service `IP:PORT` */
export async function askCount(service: string, patienceMs: number = PATIENCE_MS): Promise<number> {
  const { nodes } = labLayout();
  const ue = nodes.find(({ name }) => name === 'ue')!;
  const netns = openNetns({ name: ue.netns });
  const socket = udpSocketIn(netns, ue.addresses[0]!);
  try {
    const [address, port] = service.split(':');
    const answered = once(socket, 'message', { signal: AbortSignal.timeout(patienceMs) });
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
