/** A call that smanager would not make: to move a sandbox, at a daemon that does not own it. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { labLayout } from '../../src/lab/layout.ts';

const PROGRAM = join(import.meta.dirname, 'call-migrate-program.ts');

/** @returns the code that the daemon refuses with. @param vm whose daemon is asked */
export async function refusalOfMigrate(vm: string, name: string, toVm: string): Promise<string> {
  const { hub, pki, vms } = labLayout();
  const endpoints = [vm, toVm].map((each) => vms.find((one) => one.name === each)!.endpoint);
  const words = [
    PROGRAM,
    JSON.stringify({ hub, pki, vm, name, toVm, endpoint: endpoints[0], toEndpoint: endpoints[1] }),
  ];
  const { stdout } = await promisify(execFile)(process.execPath, words);
  return stdout.trim();
}
