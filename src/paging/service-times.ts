/** What a fault service has done, and how long those waited who had to wait for a page. */

export type ServiceCounts = {
  /** Messages of threads that touched a missing page. */
  readonly faults: number;
  /** Faults answered with contents from the source, and with a zero page. */
  readonly pageFaults: number;
  readonly zeroFaults: number;
  /** Pages that came for faults, with those around them. */
  readonly faultedPages: number;
  /** Pages that came in the background. */
  readonly filledPages: number;
  /** From reading the fault to the page being there, of those with contents from the source. */
  readonly serviceMicros: { readonly min: number; readonly median: number; readonly p99: number; readonly max: number };
};

/** So many of the latest are kept. */
const SAMPLES = 4096;

export class ServiceTimes {
  #faults = 0;
  #pageFaults = 0;
  #zeroFaults = 0;
  #faultedPages = 0;
  #filledPages = 0;
  readonly #samples = new Float64Array(SAMPLES);

  get faults(): number {
    return this.#faults;
  }

  fault(): void {
    this.#faults++;
  }

  served(what: 'page' | 'zero', micros: number): void {
    if (what === 'zero') this.#zeroFaults++;
    else this.#samples[this.#pageFaults++ % SAMPLES] = micros;
  }

  brought(pages: number): void {
    this.#faultedPages += pages;
  }

  filled(pages: number): void {
    this.#filledPages += pages;
  }

  counts(): ServiceCounts {
    const sorted = this.#samples.slice(0, Math.min(this.#pageFaults, SAMPLES)).sort();
    const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
    return {
      faults: this.#faults,
      pageFaults: this.#pageFaults,
      zeroFaults: this.#zeroFaults,
      faultedPages: this.#faultedPages,
      filledPages: this.#filledPages,
      serviceMicros: { min: at(0), median: at(0.5), p99: at(0.99), max: at(1) },
    };
  }
}
