/** The log of what goes into the process and comes out of it, on its way to the copy. */
import { ComicranError } from '../base/errors.ts';
import type { LogEntry } from '../base/traffic-log.ts';
import { encodedLogEntryBytes } from './codec-fields.ts';
import { MAX_LOG_ENTRIES, MAX_PART_BYTES, type ReportMessage } from './messages.ts';
import type { LogCount, SourceTraffic } from './ports.ts';
import type { SourceLine } from './roles.ts';

export class LogSender {
  readonly #line: SourceLine;
  readonly #traffic: SourceTraffic;
  readonly #timeoutMs: number;
  #inputs = 0;
  #outputs = 0;

  /** @param timeoutMs for each message */
  constructor(line: SourceLine, traffic: SourceTraffic, timeoutMs: number) {
    this.#line = line;
    this.#traffic = traffic;
    this.#timeoutMs = timeoutMs;
  }

  /** How much has been sent. */
  get sent(): LogCount {
    return { inputs: this.#inputs, outputs: this.#outputs };
  }

  /** For people. */
  lagBehind(report: ReportMessage | undefined): string {
    return `${this.#inputs - (report?.injected ?? 0)} datagrams in and ${this.#outputs - (report?.compared ?? 0)} out`;
  }

  /** Sends all that there is to read, up to a number. @throws ComicranError replication.overrun */
  async pump(atMost = MAX_LOG_ENTRIES): Promise<void> {
    for (let left = atMost; left > 0; ) {
      const entries = this.#traffic.read(Math.min(left, MAX_LOG_ENTRIES));
      if (entries.length === 0) break;
      left -= entries.length;
      await this.#send(entries);
    }
  }

  /**
   * Sends the rest, and that it was the rest.
   * @param end how much the whole log holds
   * @throws ComicranError replication.overrun: there is not so much
   */
  async end(end: LogCount): Promise<void> {
    await this.pump(end.inputs + end.outputs - this.#inputs - this.#outputs);
    if (this.#inputs !== end.inputs || this.#outputs !== end.outputs)
      throw new ComicranError(
        'replication.overrun',
        `the log has ${this.#inputs} datagrams in and ${this.#outputs} out, where it should have ${end.inputs} and ${end.outputs}`,
      );
    await this.#line.send({ type: 'LOG_END', ...end }, this.#timeoutMs);
  }

  /** In as many messages as their bytes need; the entries are not looked at any more when it has answered. */
  async #send(entries: readonly LogEntry[]): Promise<void> {
    let first = 0;
    let bytes = 0;
    for (const [index, entry] of entries.entries()) {
      const more = encodedLogEntryBytes(entry);
      if (bytes > 0 && bytes + more > MAX_PART_BYTES) {
        await this.#line.send({ type: 'LOG', entries: entries.slice(first, index) }, this.#timeoutMs);
        first = index;
        bytes = 0;
      }
      bytes += more;
      if (entry.kind === 'input') this.#inputs++;
      else this.#outputs++;
    }
    await this.#line.send({ type: 'LOG', entries: first === 0 ? entries : entries.slice(first) }, this.#timeoutMs);
  }
}
