/** The server that the fake machines run: all of it is its registers and its memory, and each request changes both. */

export const PAGE = 4096;
export const FAKE_PAGES = 6;

export type Memory = {
  /** The count of requests, then a mixture of all of them in order; 32 bits each. */
  readonly registers: Uint8Array;
  readonly pages: Uint8Array;
};

export function newMemory(): Memory {
  return { registers: new Uint8Array(8), pages: new Uint8Array(FAKE_PAGES * PAGE) };
}

/** As the server has it when it has started: every third page is still empty. */
export function bootMemory(): Memory {
  const memory = newMemory();
  for (let page = 0; page < FAKE_PAGES; page++)
    if (page % 3 !== 2) memory.pages.fill(page + 1, page * PAGE, (page + 1) * PAGE);
  return memory;
}

export function answer(memory: Memory, request: number): void {
  const { registers, count, mixture } = mix(memory, request);
  registers.writeUInt32LE(count, 0);
  registers.writeUInt32LE(mixture, 4);
  memory.pages[mixture % memory.pages.length] = (count & 0xff) | 1;
}

function mix(memory: Memory, request: number): { registers: Buffer; count: number; mixture: number } {
  const registers = Buffer.from(memory.registers.buffer, memory.registers.byteOffset, 8);
  const count = registers.readUInt32LE(0) + 1;
  const mixture = (Math.imul((registers.readUInt32LE(4) ^ request) + 0x7f4a7c15, 0x9e3779b1) ^ count) >>> 0;
  return { registers, count, mixture };
}

/** Number of the page that it will change for this request. */
export function pageFor(memory: Memory, request: number): number {
  return Math.floor((mix(memory, request).mixture % memory.pages.length) / PAGE);
}

/** A server that has been sent these requests, in this order. */
export function replay(requests: readonly number[]): Memory {
  const memory = bootMemory();
  for (const request of requests) answer(memory, request);
  return memory;
}
