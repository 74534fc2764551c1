/** What has been built of a sketch (checkpoint/sketch.ts), and what of it has to be made anew for the image. */
import { isDeepStrictEqual } from 'node:util';
import { defined } from '../base/assert.ts';
import { emptied } from '../image/descriptors/emptied.ts';
import type { DescriptorTableImage, PipeImage } from '../image/descriptors/types.ts';
import type { MemoryArea, MemoryImage, ProcessImage } from '../image/types.ts';
import { addToEventfd } from '../linux/eventfd.ts';
import { O } from '../linux/open-flags.ts';
import { SYS } from '../linux/syscall-numbers.ts';
import { Copies, type RecreateContext } from './descriptors/context.ts';
import { endsOf, fillPipe } from './descriptors/pipes.ts';
import { rangesToClose } from './descriptors/placement.ts';
import { placeCarriedFiles, recreateDescriptors } from './descriptors/recreate.ts';

type Room = { readonly base: bigint; readonly size: bigint };

/** Of the process as a whole, what is given to it once. */
const GIVEN = ['pid', 'session', 'processGroup', 'executable', 'personality', 'ids'] as const;

/**
 * Whether what was built of a sketch can become the process of an image: the same program with the same threads.
 *
 * @param agent where the engine works in what was built.
 */
export function fits(sketch: ProcessImage, image: ProcessImage, agent: Room): boolean {
  if (sketch.platform.bootId !== image.platform.bootId) return false;
  if (!GIVEN.every((name) => isDeepStrictEqual(sketch.process[name], image.process[name]))) return false;
  if (!isDeepStrictEqual(sketch.memory.specials, image.memory.specials)) return false;
  const made = new Set(sketch.threads.map(({ tid }) => tid));
  if (made.size !== image.threads.length || image.threads.some(({ tid }) => !made.has(tid))) return false;
  const end = agent.base + agent.size;
  if (image.memory.areas.some((area) => area.start < end && area.end > agent.base)) return false;
  const names = inheritedNumbers(sketch.descriptors);
  return (
    sketch.descriptors.descriptors.length === 0 ||
    image.descriptors.descriptions.every((each) => each.kind !== 'inherited' || names.has(each.name))
  );
}

type Areas = Pick<MemoryImage, 'areas' | 'files'>;

/** Areas of the first that the second has not, or not so, and the other way round. */
export function changedAreas(
  before: Areas,
  now: Areas,
): { readonly gone: readonly MemoryArea[]; readonly fresh: readonly MemoryArea[] } {
  const were = new Set(before.areas.map((area) => identity(area, before)));
  const are = new Set(now.areas.map((area) => identity(area, now)));
  return {
    gone: before.areas.filter((area) => !are.has(identity(area, before))),
    fresh: now.areas.filter((area) => !were.has(identity(area, now))),
  };
}

function identity({ start, end, protection, flags, file, fileOffset, name }: MemoryArea, { files }: Areas): string {
  const mapped = file === null ? undefined : files[file];
  const contents = mapped === undefined ? '' : `${Buffer.from(mapped.headDigest).toString('hex')} ${mapped.path}`;
  return [start, end, protection, flags, fileOffset, contents, name].join(' ');
}

/**
 * Makes the descriptors of an image of those of a sketch. What is the same is left as it is; otherwise all are made anew.
 *
 * @param context with the inherited pipes as the hatchery had them.
 * @throws as {@link recreateDescriptors}.
 */
export function adjustDescriptors(
  context: RecreateContext,
  before: DescriptorTableImage,
  now: DescriptorTableImage,
): void {
  if (before.descriptors.length === 0) {
    recreateDescriptors(context, now);
    return;
  }
  const pipes = writeEnds(now);
  if (pipes !== undefined && isDeepStrictEqual(before, emptied(now))) {
    placeCarriedFiles(context, now);
    fill(context, now, pipes);
    return;
  }
  const inherited = inheritedNumbers(before);
  const kept = new Set(inherited.values());
  // First: an address can be bound to once.
  context.tracee.batch(
    rangesToClose(before.descriptors.filter(({ number }) => kept.has(number))).map(({ first, last }) => ({
      what: `close ${first} to ${last}`,
      number: SYS.close_range,
      args: [first, last, 0],
    })),
  );
  recreateDescriptors({ ...context, inherited }, now);
}

/** Of each pipe with something in it, a description that writes to it; undefined: one has none. */
function writeEnds({ pipes, descriptions }: DescriptorTableImage): Map<PipeImage, number> | undefined {
  const ends = new Map<PipeImage, number>();
  for (const [pipe, image] of pipes.entries()) {
    if (image.chunks.length === 0) continue;
    const end = endsOf(descriptions, pipe).find((each) => (each.image.flags & O.ACCMODE) !== O.RDONLY);
    if (end === undefined) return undefined;
    ends.set(image, end.index);
  }
  return ends;
}

/** What {@link emptied} takes away. */
function fill({ tracee }: RecreateContext, table: DescriptorTableImage, pipes: ReadonlyMap<PipeImage, number>): void {
  const counters = table.descriptions.flatMap((image, index) =>
    image.kind === 'eventfd' && image.count > 0n ? [{ count: image.count, index }] : [],
  );
  if (pipes.size === 0 && counters.length === 0) return;
  using copies = new Copies(tracee.process.pid);
  const copyOf = (index: number): number => {
    const has = table.descriptors.find(({ description }) => description === index);
    return copies.of(defined(has, 'a descriptor of the description').number);
  };
  for (const [pipe, index] of pipes) fillPipe(pipe, copyOf(index));
  for (const { count, index } of counters) addToEventfd(copyOf(index), count);
}

/** Where the descriptors of a table have what was inherited. */
function inheritedNumbers({ descriptors, descriptions }: DescriptorTableImage): Map<string, number> {
  const numbers = new Map<string, number>();
  for (const { number, description } of descriptors.toReversed()) {
    const image = descriptions[description];
    if (image?.kind === 'inherited') numbers.set(image.name, number);
  }
  return numbers;
}
