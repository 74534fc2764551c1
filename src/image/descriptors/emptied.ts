import type { DescriptorTableImage } from './types.ts';

/** A table without what runs through its descriptors: what is in pipes, counts of eventfds, contents of files. */
export function emptied({ descriptors, descriptions, pipes }: DescriptorTableImage): DescriptorTableImage {
  return {
    descriptors,
    descriptions: descriptions.map((image) => (image.kind === 'eventfd' ? { ...image, count: 0n } : image)),
    pipes: pipes.map((pipe) => ({ ...pipe, chunks: [] })),
    carriedFiles: [],
  };
}
