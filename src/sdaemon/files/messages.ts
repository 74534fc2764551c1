import { create } from '@bufbuild/protobuf';
import { type FileUse, FileUseSchema, type StoreResponse, StoreResponseSchema } from '../../api/gen/comicran_pb.ts';
import { removeUnused, storeFigures } from '../../jailor/store/keeping.ts';
import type { RootFiles } from '../../jailor/store/use.ts';
import type { Arrivals } from './arrivals.ts';

export function fileUseMessage({ copiedFiles, copiedBytes, rehashedBytes, repaired, sharing }: RootFiles): FileUse {
  return create(FileUseSchema, {
    ...{ copiedFiles: BigInt(copiedFiles), copiedBytes: BigInt(copiedBytes), rehashedBytes: BigInt(rehashedBytes) },
    ...{ repaired: [...repaired], sharing },
  });
}

/** @param prune remove what no sandbox has, but for what one that is to come needs */
export async function storeMessage(store: string, prune: boolean, arrivals: Arrivals): Promise<StoreResponse> {
  const removed = prune ? await removeUnused(store, arrivals.expected()) : { files: 0, bytes: 0 };
  const { files, bytes, trees, treesInUse, unusedFiles, unusedBytes } = storeFigures(store);
  return create(StoreResponseSchema, {
    ...{ files: BigInt(files), bytes: BigInt(bytes), trees: BigInt(trees), treesInUse: BigInt(treesInUse) },
    ...{ unusedFiles: BigInt(unusedFiles), unusedBytes: BigInt(unusedBytes) },
    ...{ removedFiles: BigInt(removed.files), removedBytes: BigInt(removed.bytes) },
  });
}
