/** Files that come from other machines, because this one lacks them. */
import type { PutFilePartRequest } from '../../api/gen/comicran_pb.ts';
import { ComicranError, messageOf } from '../../base/errors.ts';
import { parseFullConfig } from '../../base/full-config.ts';
import type { FullConfig } from '../../base/sandbox-config.ts';
import { Arrival, objectName, obtain } from '../../jailor/store/objects.ts';
import { Records } from '../../jailor/store/records.ts';
import { newUse } from '../../jailor/store/use.ts';
import type { Log } from '../log.ts';

/** A source that sends nothing for so long is gone. */
const PATIENCE_MS = 60_000;
const SHA256 = /^[0-9a-f]{64}$/;
const MAX_MODE = 0o7777;
/** What says that a file is not here as the configuration has it. */
const LACKING: ReadonlySet<string> = new Set(['config.missing-file', 'config.changed-file']);

type UnderWay = { readonly arrival: Arrival; readonly patience: NodeJS.Timeout };

export class Arrivals {
  readonly #store: string;
  readonly #log: Log;
  readonly #underWay = new Map<string, UnderWay>();
  /** Names of the files of sandboxes that are to come, by their configurations. */
  readonly #expected = new Map<string, readonly string[]>();

  constructor(store: string, log: Log) {
    this.#store = store;
    this.#log = log;
  }

  /** Has in the store what this machine has at all. @returns the rest, each content once, as positions in the configuration. */
  async lacking(configJson: string): Promise<{ lacking: number[]; copiedBytes: number }> {
    const config = parseFullConfig(configJson, 'the configuration from the source');
    const records = new Records(this.#store);
    const use = newUse((text) => this.#log(`${config.id}: ${text}`));
    const lacking = new Map<string, number>();
    this.#expect(configJson, config);
    for (const [index, file] of config.files.entries()) {
      try {
        await obtain(this.#store, file, records, use);
      } catch (thrown) {
        if (!(thrown instanceof ComicranError) || !LACKING.has(thrown.code)) throw thrown;
        lacking.set(objectName(file), index);
      }
    }
    records.save();
    return { lacking: [...lacking.values()], copiedBytes: use.copiedBytes };
  }

  /** @throws ComicranError peer.protocol; nothing of the file stays then */
  async put(request: PutFilePartRequest): Promise<void> {
    const { fromVm, sha256, mode, offset, part, last, modifiedUnixMs } = request;
    const file = { source: `${sha256} from ${fromVm}`, sha256, mode, size: Number(request.size) };
    if (!SHA256.test(sha256) || mode > MAX_MODE) throw new ComicranError('peer.protocol', 'a file without a name came');
    const key = `${fromVm} ${objectName(file)}`;
    if (offset === 0n) this.#discard(key);
    const arrival = this.#underWay.get(key)?.arrival ?? (await Arrival.begin(this.#store, file));
    this.#keep(key, arrival);
    try {
      if (arrival.receivedBytes !== Number(offset)) {
        throw new ComicranError('peer.protocol', `a part of a file came at ${offset}, not ${arrival.receivedBytes}`);
      }
      arrival.add(part);
    } catch (thrown) {
      this.#discard(key);
      if (thrown instanceof ComicranError) throw thrown;
      const hint = 'Make room there, for example with comicran smanager store --prune.';
      throw new ComicranError('migration.refused', `a file cannot be stored: ${messageOf(thrown)}`, { hint });
    }
    if (!last) return;
    this.#forget(key);
    arrival.end(this.#store, new Records(this.#store), Number(modifiedUnixMs));
  }

  /** Names of stored files that are here for a sandbox that has not come yet. */
  expected(): Set<string> {
    return new Set([...this.#expected.values()].flat());
  }

  /** The sandbox has come, and has its files. */
  settled(configJson: string): void {
    this.#expected.delete(configJson);
  }

  #expect(configJson: string, config: FullConfig): void {
    const names = config.files.map(objectName);
    this.#expected.set(configJson, names);
    const forget = (): void => {
      if (this.#expected.get(configJson) === names) this.#expected.delete(configJson);
    };
    setTimeout(forget, PATIENCE_MS).unref();
  }

  close(): void {
    for (const key of this.#underWay.keys()) this.#discard(key);
  }

  #keep(key: string, arrival: Arrival): void {
    this.#forget(key);
    const patience = setTimeout(() => this.#discard(key), PATIENCE_MS).unref();
    this.#underWay.set(key, { arrival, patience });
  }

  #forget(key: string): void {
    clearTimeout(this.#underWay.get(key)?.patience);
    this.#underWay.delete(key);
  }

  #discard(key: string): void {
    const underWay = this.#underWay.get(key);
    this.#forget(key);
    underWay?.arrival.discard();
  }
}
