/** Stands in for the restore engine: lets the hatchery of a skeleton bring forth a process. */
import { CLONE } from '../../src/linux/clone-flags.ts';
import { parseMaps, readProc } from '../../src/linux/procfs.ts';
import { detach, interrupt, seize, TRACE_OPTION } from '../../src/linux/ptrace.ts';
import { SYS } from '../../src/linux/syscall-numbers.ts';
import { TracedProcess, Tracee } from '../../src/linux/tracee.ts';
import { readVdso } from '../../src/linux/vdso.ts';
import { waitThread } from '../../src/linux/wait.ts';

/** struct clone_args (linux/sched.h), version 2. */
const CLONE_ARGS_BYTES = 88;

/**
 * @param innerPid that the new process has in the sandbox.
 * @returns its PID on the VM. It is stopped (SIGSTOP), traced by nobody, and has written "hatched" to
 * standard output, and ends with exit code 42 when it is continued.
 */
export function hatch(hatcheryPid: number, innerPid: number): number {
  seize(hatcheryPid, TRACE_OPTION.CLONE | TRACE_OPTION.FORK | TRACE_OPTION.SYSGOOD);
  interrupt(hatcheryPid);
  waitThread(hatcheryPid);
  const hatchery = new TracedProcess(hatcheryPid, 0n);
  const vdso = readVdso(parseMaps(readProc(hatcheryPid, 'maps')), hatchery.memory);
  hatchery.syscallSite = vdso.syscallSite;
  const thread = new Tracee(hatchery, hatcheryPid);
  thread.installAgent();
  const pids = Buffer.alloc(4);
  pids.writeInt32LE(innerPid);
  const args = Buffer.alloc(CLONE_ARGS_BYTES);
  args.writeBigUInt64LE(BigInt(CLONE.PARENT), 0);
  args.writeBigUInt64LE(thread.put(pids), 64);
  args.writeBigUInt64LE(1n, 72);
  const pid = thread.clone('clone3', thread.put(args), args.length);
  waitThread(pid);
  const hatched = new TracedProcess(pid, hatchery.syscallSite);
  const child = new Tracee(hatched, pid);
  const text = Buffer.from('hatched\n');
  hatched.memory.write(child.registers.get('rsp') - 512n, text);
  child.call('write', SYS.write, 1, child.registers.get('rsp') - 512n, text.length);
  child.registers.set('rip', hatchery.syscallSite).set('rax', SYS.exit_group).set('rdi', 42).set('orig_rax', -1n);
  child.restore();
  process.kill(pid, 'SIGSTOP');
  detach(pid);
  hatched.close();
  thread.removeAgent();
  detach(hatcheryPid);
  hatchery.close();
  return pid;
}
