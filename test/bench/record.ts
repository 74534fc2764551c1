/** The compare-and-set at the sdn, from a worker thread in another namespace: by its record channel, and by RPC beside it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { summarise } from '../../src/base/stats.ts';
import { inNetns } from '../../src/linux/netns.ts';
import { makePki } from '../api/support.ts';
import { makeTopology, SERVICE_ADDRESS } from '../sdn/topology.ts';
import type { Figure } from './figure.ts';
import type { RecordTimes } from './record-client.ts';

const ROUNDS = 400;
/** Of the first rounds, in which both programs are still being compiled. */
const WARMING = 40;
const ENDPOINT = `${SERVICE_ADDRESS}:7430`;
const here = import.meta.dirname;

export async function recordFigures(): Promise<Figure[]> {
  const topology = makeTopology();
  const state = mkdtempSync(join(tmpdir(), 'comicran-record-'));
  const pki = await makePki();
  const words = ['sdn', '--listen', ENDPOINT, '--state', state, '--pki', pki, '--service-address', SERVICE_ADDRESS];
  const sdn = inNetns(topology.netns.sdn, () =>
    spawn(join(here, '../../bin/comicran'), words, { stdio: ['ignore', 'ignore', 'pipe'] }),
  );
  try {
    await new Promise<void>((resolve, reject) => {
      let printed = '';
      sdn.stderr.on('data', (data: Buffer) => {
        printed += data.toString();
        if (printed.includes('listens on')) resolve();
      });
      sdn.once('exit', () => reject(new Error(`the sdn has ended: ${printed}`)));
    });
    const script = [join(here, 'record-client.ts'), ENDPOINT, pki, String(ROUNDS)];
    const client = inNetns(topology.netns.vm2, () =>
      spawn(process.execPath, ['--disable-warning=ExperimentalWarning', ...script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      }),
    );
    let printed = '';
    client.stdout.on('data', (data: Buffer) => {
      printed += data.toString();
    });
    await once(client, 'close');
    const times = JSON.parse(printed) as RecordTimes;
    const micros = (values: readonly number[]): number[] => values.slice(WARMING).map((value) => value * 1000);
    return [
      {
        name: 'compare-and-set by the record channel',
        unit: 'µs',
        summary: summarise(micros(times.channel)),
        medianBar: 400,
      },
      { name: 'compare-and-set by RPC', unit: 'µs', summary: summarise(micros(times.rpc)) },
      { name: 'rehearsal by the record channel', unit: 'µs', summary: summarise(micros(times.rehearse)) },
    ];
  } finally {
    if (sdn.exitCode === null) {
      sdn.kill('SIGKILL');
      await once(sdn, 'exit');
    }
    topology.close();
    rmSync(state, { recursive: true, force: true });
    rmSync(pki, { recursive: true, force: true });
  }
}
