/** Makes half of a sandbox's processes, says which, and is killed: what jailor is in the middle of cloneInit (src/jailor/zygote.ts). */
import { openSync, writeSync } from 'node:fs';
import { awaitIdle, startZygote } from '../../src/jailor/programs.ts';
import { CLONE } from '../../src/linux/clone-flags.ts';
import { StoppedProcess } from '../../src/linux/idle-process.ts';
import { SYS } from '../../src/linux/syscall-numbers.ts';

/** An id that nobody has, and one that stays as it is, for setresuid(2). */
const [STRANGER, UNCHANGED] = [1_900_000_000, -1];

const nowhere = openSync('/dev/null', 'r+');
const zygote = startZygote([nowhere, nowhere, nowhere]);
awaitIdle(zygote);
const mould = StoppedProcess.stop(zygote.hostPid);
const init = mould.clone('make an init', CLONE.NEWPID, null);
mould.thread.call('change its ids', SYS.setresuid, UNCHANGED, STRANGER, UNCHANGED);
writeSync(1, `${zygote.hostPid} ${init.pid}\n`);
process.kill(process.pid, 'SIGKILL');
