import { ComicranError } from '../base/errors.ts';
import type { FaultSource } from './migration/faults.ts';

export type DaemonOptions = {
  /** Name of this virtual machine. */
  readonly name: string;
  /** Its IPv4 address, as the SDN node and the other machines reach it. */
  readonly address: string;
  /** `IP:PORT` to listen on. */
  readonly listen: string;
  readonly state: string;
  readonly pki: string;
  /** `IP:PORT` of the sdn. */
  readonly sdn: string;
  /** How many times as long as usual it waits for others: for machines that are slow. */
  readonly patience: number;
  /** For tests. */
  readonly fault: FaultSource | undefined;
};

const NEEDED = ['name', 'address', 'pki', 'sdn'] as const;

/** @throws ComicranError usage, naming every option that is missing. */
export function checkOptions(
  given: Partial<DaemonOptions> & Pick<DaemonOptions, 'listen' | 'state' | 'patience'>,
): DaemonOptions {
  const missing = NEEDED.filter((key) => given[key] === undefined);
  const { name, address, pki, sdn, listen, state, patience } = given;
  if (name === undefined || address === undefined || pki === undefined || sdn === undefined) {
    throw new ComicranError('usage', `sdaemon needs ${missing.map((key) => `--${key}`).join(', ')}`, {
      hint:
        'For example: comicran sdaemon --name vm1 --address 10.71.1.2 --sdn 10.71.1.1:7500 --pki /etc/comicran/pki. ' +
        "'comicran lab up' starts daemons for a lab by itself.",
    });
  }
  return { name, address, pki, sdn, listen, state, patience, fault: given.fault };
}
