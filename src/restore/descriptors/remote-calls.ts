import { KernelError } from '../../linux/errno.ts';
import type { RemoteArgument, RemoteCall, Tracee } from '../../linux/tracee.ts';

/** A number, or bytes whose address in the process is passed. The bytes are read back when the call writes to them. */
type QueuedArgument = RemoteArgument | Buffer;

type QueuedCall = {
  /** What is being done and to what, for the error. */
  readonly what: string;
  readonly number: number;
  readonly args: readonly QueuedArgument[];
  /** The call writes into its buffers. */
  readonly writesBack?: boolean;
  /** Told when the call has been made and has succeeded. */
  readonly done?: (result: number) => void;
  /** Told when it has failed; throws, or lets it pass. Absent: the failure is thrown as it is. */
  readonly failed?: (error: KernelError) => void;
};

/** Bytes of scratch that one run may take. */
const MAX_SCRATCH = 12 << 10;
/** No more calls in one run than the agent takes in one stop. */
const MAX_CALLS = 256;

/** Collects calls to be made inside the process and makes them in few stops, with what they point at written at once. */
export class RemoteCalls {
  readonly #tracee: Tracee;
  #calls: QueuedCall[] = [];
  #scratchBytes = 0;

  constructor(tracee: Tracee) {
    this.#tracee = tracee;
  }

  /** Earlier calls may be made now, in order; all of them are when {@link flush} returns. */
  add(call: QueuedCall): void {
    const bytes = call.args.reduce<number>((sum, arg) => sum + (typeof arg === 'object' ? aligned(arg.length) : 0), 0);
    if (this.#calls.length === MAX_CALLS || this.#scratchBytes + bytes > MAX_SCRATCH) this.flush();
    this.#calls.push(call);
    this.#scratchBytes += bytes;
  }

  /** Makes what waits. The first failure is thrown after all calls of its run have been made. */
  flush(): void {
    const calls = this.#calls;
    if (calls.length === 0) return;
    const scratch = Buffer.alloc(this.#scratchBytes);
    this.#calls = [];
    this.#scratchBytes = 0;
    const mark = this.#tracee.agent.mark();
    try {
      const address = scratch.length === 0 ? 0n : this.#tracee.agent.reserve(scratch.length);
      const results = this.#run(calls, scratch, address);
      calls.forEach((call, index) => {
        report(call, Number(results[index]!));
      });
    } finally {
      this.#tracee.agent.release(mark);
    }
  }

  #run(calls: readonly QueuedCall[], scratch: Buffer, address: bigint): bigint[] {
    const buffers: { readonly buffer: Buffer; readonly at: number; readonly writesBack: boolean }[] = [];
    let used = 0;
    const place = (buffer: Buffer, writesBack: boolean): bigint => {
      const at = used;
      buffer.copy(scratch, at);
      buffers.push({ buffer, at, writesBack });
      used += aligned(buffer.length);
      return address + BigInt(at);
    };
    const remote = calls.map(
      ({ what, number, args, writesBack }): RemoteCall => ({
        what,
        number,
        args: args.map((arg) => (typeof arg === 'object' ? place(arg, writesBack === true) : arg)),
        mayFail: true,
      }),
    );
    if (scratch.length > 0) this.#tracee.process.memory.write(address, scratch);
    const results = this.#tracee.batch(remote);
    if (buffers.some(({ writesBack }) => writesBack)) {
      this.#tracee.process.memory.readInto(address, scratch);
      for (const { buffer, at, writesBack } of buffers) if (writesBack) scratch.copy(buffer, 0, at, at + buffer.length);
    }
    return results;
  }
}

function report({ what, done, failed }: QueuedCall, result: number): void {
  if (result >= 0) {
    done?.(result);
    return;
  }
  const error = new KernelError(what, -result);
  if (failed === undefined) throw error;
  failed(error);
}

const aligned = (length: number): number => (length + 15) & ~15;
