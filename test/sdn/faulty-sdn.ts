/**
 * The sdn daemon with a fault: it kills itself, as kill -9 does, when a change of the owner reaches the point that is named.
 * Arguments: fault point, listen, state directory, pki directory, service address.
 */
import { loadIdentity } from '../../src/api/identity.ts';
import { startSdn } from '../../src/sdn/daemon.ts';
import { openKernelDataPlane } from '../../src/sdn/kernel-data-plane.ts';

const [wanted, listen, stateDirectory, pki, serviceAddress] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
];
let changes = 0;
await startSdn({
  listen,
  stateDirectory,
  identity: loadIdentity(pki, 'sdn'),
  serviceAddress,
  openDataPlane: openKernelDataPlane,
  log: (line) => void process.stderr.write(`${line}\n`),
  fault(point) {
    if (point === 'decided') changes++;
    // Before it: the claim and the announcement.
    if (changes === 3 && point === wanted) process.kill(process.pid, 'SIGKILL');
  },
});
