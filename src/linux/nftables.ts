/**
 * nftables through libnftables in its JSON form (libnftables-json(5)), with a context that is kept: a change of one map
 * element takes 0.1 ms, where starting `nft` takes 25.
 *
 * The context's netlink socket belongs to the network namespace that the calling thread was in when it was opened.
 */
import koffi from 'koffi';
import { assert } from '../base/assert.ts';
import { ComicranError } from '../base/errors.ts';

/** One command or object of libnftables-json(5): `{ add: { table: { family: 'ip', name: 'x' } } }`. */
export type NftObject = { readonly [key: string]: unknown };

const LIBRARY = 'libnftables.so.1';
const NFT_CTX_DEFAULT = 0;
const NFT_CTX_OUTPUT_JSON = 1 << 4;

type Context = unknown;
type Library = {
  readonly create: (flags: number) => Context;
  readonly free: (context: Context) => void;
  readonly setOutputFlags: (context: Context, flags: number) => void;
  readonly bufferOutput: (context: Context) => number;
  readonly bufferError: (context: Context) => number;
  readonly run: (context: Context, commands: string) => number;
  readonly output: (context: Context) => string;
  readonly error: (context: Context) => string;
};

function loadLibrary(): Library {
  try {
    const library = koffi.load(LIBRARY);
    return {
      create: library.func('void *nft_ctx_new(uint32_t)'),
      free: library.func('void nft_ctx_free(void *)'),
      setOutputFlags: library.func('void nft_ctx_output_set_flags(void *, unsigned int)'),
      bufferOutput: library.func('int nft_ctx_buffer_output(void *)'),
      bufferError: library.func('int nft_ctx_buffer_error(void *)'),
      run: library.func('int nft_run_cmd_from_buffer(void *, const char *)'),
      // The string is copied before the next call overwrites it.
      output: library.func('const char *nft_ctx_get_output_buffer(void *)'),
      error: library.func('const char *nft_ctx_get_error_buffer(void *)'),
    };
  } catch (cause) {
    throw new ComicranError('needs.tool', `${LIBRARY} is not on this machine`, {
      cause,
      hint: "Install Debian's package libnftables1.",
    });
  }
}

/** A transaction that the kernel or the library refused; none of it has happened. */
export class NftablesError extends Error {
  override readonly name = 'NftablesError';
  /** What the library printed, without positions (they say nothing for JSON input). */
  readonly reason: string;

  constructor(what: string, printed: string) {
    const lines = printed.split('\n').filter((line) => line.trim() !== '');
    // Behind an error stands the line that it is about, underlined.
    const errors = lines
      .filter((line) => line.includes('Error: '))
      .map((line) => line.replace(/^.*?Error: /, '').trim());
    const reason = [...new Set(errors.length > 0 ? errors : lines)].join('; ') || 'no reason given';
    super(`${what}: ${reason}`);
    this.reason = reason;
  }

  /** The thing that was to be changed, deleted or listed is not there. */
  get isAbsent(): boolean {
    return /No such file or directory/.test(this.reason);
  }
}

export class Nftables {
  readonly #library = loadLibrary();
  #context: Context;

  /** In the network namespace of the calling thread. The caller closes it (or uses `using`). */
  constructor() {
    const context = this.#library.create(NFT_CTX_DEFAULT);
    assert(context !== null, 'libnftables gave no context');
    this.#library.setOutputFlags(context, NFT_CTX_OUTPUT_JSON);
    this.#library.bufferOutput(context);
    this.#library.bufferError(context);
    this.#context = context;
  }

  #run(what: string, commands: string): string {
    assert(this.#context !== null, 'nftables used after close');
    const status = this.#library.run(this.#context, commands);
    const output = this.#library.output(this.#context);
    // The error buffer is read in any case: reading empties it.
    const error = this.#library.error(this.#context);
    if (status !== 0) throw new NftablesError(what, error);
    return output;
  }

  /**
   * Makes changes in one transaction: all of them or none.
   * @param what names them in the error: "publish 10.0.0.1:5006/udp".
   * @throws NftablesError
   */
  apply(what: string, commands: readonly NftObject[]): void {
    if (commands.length > 0) this.#run(what, JSON.stringify({ nftables: commands }));
  }

  /**
   * As {@link apply}, for commands as nft(8) reads them, one a line. For rulesets: they are easier to read, and in JSON
   * libnftables 1.0.6 crashes on some of them (dnat to a map whose values are an address and a port).
   */
  applyText(what: string, commands: string): void {
    this.#run(what, commands);
  }

  /**
   * Lists what a `list` command names: `{ table: { family: 'ip', name: 'x' } }`.
   * @returns the objects, without the library's own `metainfo`; undefined where it is not there.
   */
  list(selection: NftObject): NftObject[] | undefined {
    try {
      const output = this.#run('list nftables', JSON.stringify({ nftables: [{ list: selection }] }));
      const { nftables } = JSON.parse(output) as { nftables: NftObject[] };
      return nftables.filter((object) => !Object.hasOwn(object, 'metainfo'));
    } catch (thrown) {
      if (thrown instanceof NftablesError && thrown.isAbsent) return undefined;
      throw thrown;
    }
  }

  /** Idempotent. What has been set stays. */
  close(): void {
    if (this.#context === null) return;
    this.#library.free(this.#context);
    this.#context = null;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
