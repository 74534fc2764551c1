/** Shuts the gate of a sandbox, and waits to be killed. `PID` */
import { OutputGate } from '../../src/replication/gate.ts';

OutputGate.shut({ pid: Number(process.argv[2]), linkName: 'eth0' });
process.stdout.write('ready\n');
setInterval(() => undefined, 1000);
