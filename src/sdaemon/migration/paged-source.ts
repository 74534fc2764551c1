/** The source of a `postcopy` migration: the memory of its stopped process, served by the paging thread. */
import { randomBytes } from 'node:crypto';
import { ipv4Bytes } from '../../base/ipv4.ts';
import { decodeProcessImage } from '../../image/codec.ts';
import { type FrozenProcess, PAGE_KEY_BYTES, type PageServer, type SourcePaging } from '../../migration/ports.ts';
import { splitPages } from '../../restore/lazy-areas.ts';
import type { PageServing, PagingClient } from '../paging/paging.ts';
import type { PagingFiles } from './paging-note.ts';

export type ServedProcessOptions = {
  readonly pid: number;
  /** Of this machine. */
  readonly address: string;
  readonly files: PagingFiles;
  readonly client: PagingClient;
  /** Something that an operator should know. */
  readonly note: (text: string) => void;
};

export class ServedProcess implements SourcePaging {
  readonly #options: ServedProcessOptions;
  #serving: PageServing | undefined;

  constructor(options: ServedProcessOptions) {
    this.#options = options;
  }

  async serve(): Promise<PageServer> {
    const { pid, address, files, client, note } = this.#options;
    // An earlier run of the daemon has told the destination.
    const { port, key } = files.read()?.pages ?? { port: 0, key: randomBytes(PAGE_KEY_BYTES) };
    const listen = { address: Buffer.from(ipv4Bytes(address)), port, key };
    this.#serving = await client.servePages({
      ...{ pid, listen },
      // The destination says so over the state channel as well, with what it has counted.
      onDone: () => undefined,
      onFailure: (error) => note(`its pages cannot be served: ${error.message}`),
    });
    files.write({ pages: { address, port: this.#serving.port, key } });
    return { ...listen, port: this.#serving.port };
  }

  split({ image, pages }: FrozenProcess): ReturnType<SourcePaging['split']> {
    const { eager, lazy } = splitPages(decodeProcessImage(image), pages);
    return { eager, later: lazy };
  }

  async close(): Promise<void> {
    const serving = this.#serving;
    this.#serving = undefined;
    await serving?.close();
  }
}
