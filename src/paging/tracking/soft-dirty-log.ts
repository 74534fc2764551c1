/**
 * Writes noticed by the kernel's soft-dirty bits. Each round stops the process for as long as it takes to read and to clear
 * them; areas that are new, or were moved, have all their bits set.
 */
import { SoftDirtyScan } from '../../linux/soft-dirty.ts';
import { OwnPages, type ScannedArea } from '../../linux/write-scan.ts';
import { listAreas } from './areas.ts';
import type { InStop, Look, WriteLog } from './write-log.ts';

/** What a log needs of {@link SoftDirtyScan}. */
export type DirtyBits = Pick<SoftDirtyScan, 'look' | 'clear' | 'close'>;

export class SoftDirtyLog implements WriteLog {
  readonly stopsForNext = true;
  readonly #bits: DirtyBits;
  readonly #listAreas: () => readonly ScannedArea[];
  readonly #inStop: InStop;
  /** The bits may be clear for somebody else: before the first round they mean nothing. */
  #begun = false;

  /** Use {@link open}. */
  constructor(bits: DirtyBits, areas: () => readonly ScannedArea[], inStop: InStop) {
    this.#bits = bits;
    this.#listAreas = areas;
    this.#inStop = inStop;
  }

  static open(pid: number, inStop: InStop): SoftDirtyLog {
    return new SoftDirtyLog(new SoftDirtyScan(pid), () => listAreas(pid), inStop);
  }

  /** The areas are those of the moment in which the process stands still. */
  next(): Look {
    return this.#inStop(() => {
      const look = this.last(this.#listAreas());
      this.#bits.clear();
      this.#begun = true;
      return look;
    });
  }

  last(areas: readonly ScannedArea[]): Look {
    const seen = new OwnPages();
    for (const area of areas) this.#bits.look(area, seen);
    return { own: seen.own, written: this.#begun ? seen.changed : seen.own };
  }

  /** The bits that are left harm nobody. */
  close(): void {
    this.#bits.close();
  }
}
