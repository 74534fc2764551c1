/** Stands in for the daemons in tests of the lab: listens where it is told, and ends when a file says so. */
import { existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  strict: false,
  allowPositionals: true,
  options: { listen: { type: 'string' }, state: { type: 'string' } },
});
const [host, port] = String(values.listen).split(':');
process.stdout.write(`fake daemon in ${String(values.state)}\n`);
if (existsSync(`${String(values.state)}.refuse`)) {
  process.stderr.write('fake daemon: no, thank you\n');
  process.exit(1);
}
// Hangs up at once on whoever wants to know how many sandboxes there are.
createServer((socket) => socket.destroy()).listen(Number(port), host);
